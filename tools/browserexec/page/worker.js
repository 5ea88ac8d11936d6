// Runs /program.wasm. What it writes goes to /output, its exit status to /exit.
importScripts("/wasm_exec.js", "/simd.js", "/browser.js");

let sent = Promise.resolve();
const post = (path, body) => sent = sent.then(() => fetch(path, { method: "POST", body }));

globalThis.fs.writeSync = (_, bytes) => {
  post("/output", bytes.slice());
  return bytes.length;
};

async function run() {
  const go = new Go();
  patchworkSIMD(go);
  patchworkGPU.connect(go);
  let code = 0;
  go.exit = status => code = status;
  Object.assign(go, await (await fetch("/start.json")).json());
  const { instance } = await WebAssembly.instantiateStreaming(fetch("/program.wasm"), go.importObject);
  await go.run(instance);
  post(`/exit?code=${code}`);
}

run().catch(error => {
  post("/output", `${error.stack}\n`);
  post("/exit?code=1");
});
