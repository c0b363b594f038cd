import multiprocessing
from concurrent.futures import ProcessPoolExecutor


def square(number):
    return number * number


def answer(queue, event):
    event.wait()
    queue.put("answer")


if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(3) as pool:
            assert pool.map(square, range(10)) == [n * n for n in range(10)]
        queue, event = context.Queue(), context.Event()
        process = context.Process(target=answer, args=(queue, event))
        process.start()
        event.set()
        assert queue.get(timeout=20) == "answer"
        process.join()
        near, far = context.Pipe()
        near.send({"a": 1})
        assert far.recv() == {"a": 1}
        with context.Manager() as manager:
            shared = manager.dict()
            shared["a"] = manager.list([1])
            assert shared["a"][0] == 1
        number, numbers = context.Value("i", 1), context.Array("d", 3)
        with context.Lock(), context.Semaphore(2), number.get_lock():
            number.value += 1
            numbers[0] = 1.5
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            assert executor.submit(square, 7).result() == 49
        print(method, flush=True)
