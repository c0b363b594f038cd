import java.net.InetAddress;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;

public class Work {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 0) {
            Thread.sleep(60_000);
        }
        ExecutorService executor = Executors.newFixedThreadPool(50);
        List<Future<Integer>> results = new ArrayList<>();
        for (int number = 0; number < 100; number++) {
            int own = number;
            results.add(executor.submit(() -> own));
        }
        int sum = 0;
        for (Future<Integer> result : results) {
            sum += result.get();
        }
        executor.shutdown();
        System.out.println(sum);
        Process process = new ProcessBuilder("sh", "-c", "exit 0").inheritIO().start();
        System.out.println("child " + process.waitFor());
        Path folder = Files.createTempDirectory(Path.of("."), "watched");
        try (WatchService watcher = FileSystems.getDefault().newWatchService()) {
            folder.register(watcher, StandardWatchEventKinds.ENTRY_CREATE);
            Files.writeString(folder.resolve("file"), "x");
            System.out.println(watcher.poll(20, TimeUnit.SECONDS) == null ? "not watched" : "watched");
        }
        Files.createTempFile("work", ".tmp");
        System.out.println(InetAddress.getLocalHost().isLoopbackAddress() ? "local" : "elsewhere");
    }
}
