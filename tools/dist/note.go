package main

import (
	"fmt"
	"strings"
)

// needs describes the requirements of a binary on a system.
var needs = map[string]string{
	"linux-amd64": `It runs on a GPU by Vulkan or WebGPU, and on the CPU. It needs glibc 2.34 or newer
(Debian 12, Ubuntu 22.04, RHEL 9) and libgcc_s.so.1; WebGPU's library is inside. Vulkan's loader,
libvulkan.so.1, and a driver are loaded at run time; without them it uses the CPU.`,
	"linux-arm64": `It runs on the CPU only, and needs glibc (any version; not musl). A build on the
machine itself, with a C compiler, has Vulkan too. With OpenBLAS (libopenblas0) it is faster.`,
	"darwin-arm64": "It runs on the CPU only. A build on the machine itself, with a C compiler, has WebGPU too.\nOn macOS run xattr -d com.apple.quarantine vlmtool first.",
	"darwin-amd64": "It runs on the CPU only. A build on the machine itself, with a C compiler, has WebGPU too.\nOn macOS run xattr -d com.apple.quarantine vlmtool first.",
	"windows-amd64": `It runs on a GPU by Vulkan, with vulkan-1.dll and the driver of the graphics card, and on
the CPU.`,
}

const needsCPU = "It runs on the CPU only. A build on the machine itself, with a C compiler, has Vulkan too."

// note is the README of an archive.
func note(src source, t target) string {
	tool := "./vlmtool"
	if t.os == "windows" {
		tool = "vlmtool.exe"
	}
	what := needs[t.String()]
	if t.os == "windows" && !t.cgo {
		what = needsCPU
	}
	text := fmt.Sprintf(`# vlmtool %s for %s

Trains and runs vision-language models without an image encoder. Built from commit
%s of %s.

%s

    TOOL version         the build, its backends and the devices of this machine
    TOOL help            the commands; TOOL help COMMAND describes one
    TOOL data import FOLDER --out data     your own images and captions
    TOOL train --data data --out run
    TOOL infer --model run --image cat.jpg --prompt "what is this?"

man/ has the man pages, completions/ the completions for bash, zsh,
fish and PowerShell. Licensed under
Apache 2.0 (LICENSE).
`, src.version, t, src.commit, src.time.Format("2006-01-02"), what)
	return strings.ReplaceAll(text, "TOOL", tool)
}
