const http = require("http");
const os = require("os");

const server = http.createServer((request, response) => response.end("answered")).listen(0, "localhost", () => {
  http.get({ host: "localhost", port: server.address().port, agent: false }, (response) => {
    response.on("data", (data) => console.log(String(data)));
    response.on("end", () => {
      console.log(Object.keys(os.networkInterfaces()).join());
      server.close();
    });
  });
});
