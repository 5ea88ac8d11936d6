// Runs the program that answers for the model. The page sends { start: manifest, device }, then
// { load: true }, then requests; the program posts its messages to the page itself.
importScripts("wasm_exec.js", "simd.js", "browser.js", "files.js");

const fail = error => postMessage({ kind: "failed", message: error.message ?? String(error) });

async function start(manifest, device) {
  const { files } = manifest;
  let load;
  const asked = new Promise(resolve => load = resolve);
  globalThis.patchworkOptions = { model: "/model.gguf", id: manifest.id, device, memory: manifest.memory_bytes, context: manifest.context };
  globalThis.patchworkDownload = async () => {
    await asked;
    addFile("/model.gguf", await download(manifest.pieces, bytes => postMessage({ kind: "progress", bytes })));
  };
  const go = new Go();
  patchworkSIMD(go);
  patchworkGPU.connect(go);
  const zipped = await get("program.bin");
  const program = new Response(zipped.body.pipeThrough(new DecompressionStream("gzip")), { headers: { "Content-Type": "application/wasm" } });
  const { instance } = await WebAssembly.instantiateStreaming(program, go.importObject);
  go.exit = code => fail(new Error(code === 2 ? "the program ended: it found no more memory, or a fault in itself" : `the program ended with status ${code}`));
  go.run(instance).catch(fail);
  return load;
}

let load;

onmessage = async ({ data }) => {
  try {
    if (data.start) load = await start(data.start, data.device);
    else if (data.load) load();
    else if (data.abort !== undefined) globalThis.patchworkAbort?.(data.abort);
    else globalThis.patchworkRequest(data.id, data.method, data.path, data.body);
  } catch (error) {
    fail(error);
  }
};
