// The files that the program reads: pieces of the weights, in the browser's cache.
"use strict";

const cacheName = "patchwork-weights";

// download returns the pieces as blobs. Those that the browser has are not fetched again; progress is
// told the bytes of all so far.
async function download(pieces, progress) {
  const cache = await caches.open(cacheName);
  const blobs = [];
  let before = 0;
  for (const piece of pieces) {
    let response = await cache.match(piece.file);
    let blob = await response?.blob();
    if (blob?.size !== piece.bytes) {
      const bytes = await fetchPiece(piece, n => progress(before + n));
      blob = new Blob([bytes]);
      try {
        await cache.put(piece.file, new Response(blob));
        blob = await (await cache.match(piece.file)).blob(); // the copy on disk
      } catch {
        // there is no room for it: it stays in memory, and is fetched again next time
      }
    }
    blobs.push(blob);
    progress(before += piece.bytes);
  }
  const wanted = new Set(pieces.map(({ file }) => new URL(file, location).href)), folder = new URL("weights/", location).href;
  for (const { url } of await cache.keys()) {
    if (url.startsWith(folder) && !wanted.has(url)) await cache.delete(url); // of an older model
  }
  return blobs;
}

// fetchPiece fetches a piece and checks it.
async function fetchPiece({ file, bytes, sha256 }, progress) {
  const response = await get(file);
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const reader = response.body.getReader();;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > bytes) throw new Error(`${file} has more than ${bytes} bytes: the site is damaged`);
    whole.set(value, at);
    progress(at += value.length);
  }
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
  if (at !== bytes || Array.from(hash, b => b.toString(16).padStart(2, "0")).join("") !== sha256) {
    throw new Error(`${file} is damaged: its SHA-256 is not the one in model.json`);
  }
  return whole;
}

// The part of Node's fs that Go's os package needs to read a file.

const files = new Map(); // path → blobs
const opened = new Map(); // descriptor → blobs
let descriptor = 100;

function addFile(path, blobs) { files.set(path, blobs); }

const sizeOf = blobs => blobs.reduce((n, blob) => n + blob.size, 0);

const stat = blobs => ({
  dev: 0, ino: 0, mode: 0o100444, nlink: 1, uid: 0, gid: 0, rdev: 0, size: sizeOf(blobs), blksize: 4096, blocks: 0, atimeMs: 0, mtimeMs: 0, ctimeMs: 0,
  isDirectory: () => false,
});

function missing(path) {
  const error = new Error(`no such file: ${path}`);
  error.code = "ENOENT";
  return error;
}

// readAt copies bytes from a position on and returns how many.
async function readAt(blobs, to, position) {
  let done = 0, start = 0;
  for (const blob of blobs) {
    const from = position + done - start;
    if (from >= 0 && from < blob.size && done < to.length) {
      const bytes = new Uint8Array(await blob.slice(from, from + to.length - done).arrayBuffer());
      to.set(bytes, done);
      done += bytes.length;
    }
    start += blob.size;
  }
  return done;
}

Object.assign(globalThis.fs, {
  open(path, flags, mode, callback) {
    if (!files.has(path)) return callback(missing(path));
    opened.set(++descriptor, files.get(path));
    callback(null, descriptor);
  },
  close(fd, callback) { opened.delete(fd); callback(null); },
  fstat(fd, callback) { callback(null, stat(opened.get(fd))); },
  stat(path, callback) { files.has(path) ? callback(null, stat(files.get(path))) : callback(missing(path)); },
  lstat(path, callback) { this.stat(path, callback); },
  read(fd, buffer, offset, length, position, callback) {
    readAt(opened.get(fd), buffer.subarray(offset, offset + length), position).then(n => callback(null, n), callback);
  },
});
