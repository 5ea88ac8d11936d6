package main

import (
	"fmt"
	"strings"
)

// needs is what a binary finds or misses on a system.
var needs = map[string]string{
	"linux-amd64": `It runs on a GPU by Vulkan or WebGPU, and on the CPU. It needs glibc 2.34 or newer
(Debian 12, Ubuntu 22.04, RHEL 9) and libgcc_s.so.1; WebGPU's library is inside. Vulkan's loader,
libvulkan.so.1, and a driver are looked for when it runs; without them it uses the CPU.`,
	"linux-arm64": `It runs on the CPU alone, and needs glibc (any version; not musl). A build on the
machine itself, with a C compiler, has Vulkan too. With OpenBLAS (libopenblas0) it is faster.`,
	"darwin-arm64":  "It runs on the CPU alone. A build on the machine itself, with a C compiler, has WebGPU too.\nmacOS asks for xattr -d com.apple.quarantine vlmtool before it runs what was downloaded.",
	"darwin-amd64":  "It runs on the CPU alone. A build on the machine itself, with a C compiler, has WebGPU too.\nmacOS asks for xattr -d com.apple.quarantine vlmtool before it runs what was downloaded.",
	"windows-amd64": "It runs on the CPU alone. A build on the machine itself, with a C compiler, has WebGPU too.",
}

// note is the README of an archive.
func note(src source, t target) string {
	tool := "./vlmtool"
	if t.os == "windows" {
		tool = "vlmtool.exe"
	}
	text := fmt.Sprintf(`# vlmtool %s for %s

Trains and asks vision-language models without an image encoder. Made from commit
%s of %s.

%s

    TOOL version         what is in this binary, and what it can run on here
    TOOL help            its commands; TOOL help COMMAND tells more
    TOOL data import FOLDER --out data     your own pictures and captions
    TOOL train --data data --out run
    TOOL infer --model run --image cat.jpg --prompt "what is this?"

man/ holds its man pages, completions/ the completions for bash, zsh,
fish and PowerShell. Licensed under
Apache 2.0 (LICENSE).
`, src.version, t, src.commit, src.time.Format("2006-01-02"), needs[t.String()])
	return strings.ReplaceAll(text, "TOOL", tool)
}
