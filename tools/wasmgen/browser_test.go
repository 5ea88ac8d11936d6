package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"patchwork/internal/require"
	"patchwork/shaders/wasm"
	"patchwork/tools/internal/browsertest"
)

// page runs the tests of app.wasm and keeps their exit code and output in the attributes of its body.
const page = `<!doctype html><link rel="icon" href="data:,"><body><script src="wasm_exec.js"></script><script src="simd.js"></script><script>
(async () => {
	const go = new Go(), log = console.log;
	go.argv = ["test", "-test.short"];
	go.exit = (code) => { document.body.dataset.exit = code; };
	console.log = (line) => { document.body.dataset.output = (document.body.dataset.output ?? "") + line + "\n"; };
	patchworkSIMD(go);
	const { instance } = await WebAssembly.instantiateStreaming(fetch("app.wasm"), go.importObject);
	await go.run(instance);
})();
</script>`

// TestBrowser runs the tests of the inner loops in Chromium, which has relaxed SIMD.
func TestBrowser(t *testing.T) {
	ctx := browsertest.Start(t)
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", filepath.Join(dir, "app.wasm"), "patchwork/shaders/quant/simd")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	require.NoError(t, err)
	script, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	require.NoError(t, err)
	for name, data := range map[string][]byte{"index.html": []byte(page), "simd.js": wasm.Loader, "wasm_exec.js": script} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(server.URL)))
	browsertest.Wait(t, ctx, `document.body.dataset.exit`)
	result, err := chromedp.Run(ctx, chromedp.Evaluate[map[string]string](`({...document.body.dataset})`))
	require.NoError(t, err)
	if result["exit"] != "0" {
		t.Errorf("exit code %s\n%s", result["exit"], result["output"])
	}
}
