// Connects the programs that Go's wasm_exec_node.js runs to the functions of simd.js:
//
//	node --require node.js wasm_exec_node.js app.wasm
//
// PATCHWORK_WASM_SIMD is the level of patchworkSIMD.
"use strict";

require("./simd.js");

let plain;
Object.defineProperty(globalThis, "Go", {
	set: (c) => { plain = c; },
	get: () => class extends plain {
		constructor() {
			super();
			patchworkSIMD(this, process.env.PATCHWORK_WASM_SIMD);
		}
	},
});
