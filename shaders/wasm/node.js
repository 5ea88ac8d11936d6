// Connects the programs that Go's wasm_exec_node.js runs to the functions of simd.js:
//
//	node --require node.js wasm_exec_node.js app.wasm
//
// PATCHWORK_WASM_SIMD=0 runs them as an engine without SIMD does.
"use strict";

require("./simd.js");

if (process.env.PATCHWORK_WASM_SIMD === "0") {
	WebAssembly.validate = () => false;
}

let plain;
Object.defineProperty(globalThis, "Go", {
	set: (c) => { plain = c; },
	get: () => class extends plain {
		constructor() {
			super();
			patchworkSIMD(this);
		}
	},
});
