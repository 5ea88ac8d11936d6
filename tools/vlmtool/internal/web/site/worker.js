// Runs the program that answers for the model. The page sends { start: manifest, device }, then
// { load: true }, then requests; the program posts its messages to the page itself.
importScripts("program.js", "files.js");

let load;
const asked = new Promise(resolve => load = resolve);

function start(manifest, device) {
  globalThis.patchworkDownload = async () => {
    await asked;
    addFile("/model.gguf", await download(manifest.pieces, bytes => postMessage({ kind: "progress", bytes })));
  };
  return run("program.bin", { model: "/model.gguf", id: manifest.id, device, memory: manifest.memory_bytes, context: manifest.context });
}

onmessage = async ({ data }) => {
  try {
    if (data.start) await start(data.start, data.device);
    else if (data.load) load();
    else if (data.abort !== undefined) globalThis.patchworkAbort?.(data.abort);
    else globalThis.patchworkRequest(data.id, data.method, data.path, data.body);
  } catch (error) {
    fail(error);
  }
};
