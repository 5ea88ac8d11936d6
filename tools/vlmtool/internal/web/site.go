// Package web puts a model on a web page: vlmtool export --web writes a folder of static files in
// which the model runs in the visitor's browser, and vlmtool web serves such a folder on this
// machine.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/engine/browser"
	"patchwork/shaders/wasm"
	"patchwork/tools/vlmtool/internal/serve"
)

//go:embed site
var siteFiles embed.FS

//go:embed program
var programFiles embed.FS

// programs returns a program of the folder program and the scripts that start it, by name.
func programs(name string) (map[string][]byte, error) {
	files := map[string][]byte{"browser.js": browser.Script, "simd.js": wasm.Loader}
	for _, name := range []string{name, "wasm_exec.js"} {
		data, err := programFiles.ReadFile("program/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNoProgram
		} else if err != nil {
			return nil, err
		}
		files[name] = data
	}
	return files, nil
}

// ErrNoProgram reports a vlmtool that was built without the program for pages.
var ErrNoProgram = errors.New("this vlmtool was built without the program for web pages; make builds one that has it")

// policy lets a page load what is in its own site and compile the program. What the model says
// is only ever text.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"

// manifest is model.json of a site.
type manifest struct {
	ID          string   `json:"id"`
	MemoryBytes int64    `json:"memory_bytes"` // of weights, cache and activations
	Context     int      `json:"context"`      // tokens of a prompt and its answer
	Pieces      []piece  `json:"pieces"`
	Examples    []string `json:"examples,omitempty"` // files of images
	Training    bool     `json:"training,omitempty"` // there is train.html
}

// piece is a part of the model's GGUF file.
type piece struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// writeSite writes all files of a site but the weights.
func writeSite(dir string, m manifest) error {
	files, err := shared()
	if err != nil {
		return err
	}
	for _, name := range m.Examples { // they are there already
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if files["model.json"], err = json.MarshalIndent(m, "", "  "); err != nil {
		return err
	}
	if files["index.html"], err = indexPage(files["index.html"]); err != nil {
		return err
	}
	if files["offline.js"], err = offline(files); err != nil {
		return err
	}
	if m.Training { // not for offline use: it is as large as the rest
		training, err := TrainPage()
		if err != nil {
			return err
		}
		maps.Copy(files, training)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// shared are the files that all sites have, those of the chat page included.
func shared() (map[string][]byte, error) {
	files, err := programs("program.bin")
	if err != nil {
		return nil, err
	}
	return files, errors.Join(add(files, sub(siteFiles, "site"), "*"), add(files, serve.Page(), "*"))
}

// add adds the files of a folder whose names match a pattern.
func add(files map[string][]byte, from fs.FS, patterns ...string) error {
	for _, pattern := range patterns {
		names, err := fs.Glob(from, pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if files[name], err = fs.ReadFile(from, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func sub(from fs.FS, dir string) fs.FS {
	f, err := fs.Sub(from, dir)
	if err != nil {
		panic(err) // the folder is embedded
	}
	return f
}

// indexPage is the chat page with web.js in the place of chat.js, which web.js loads when the model
// is ready.
func indexPage(page []byte) ([]byte, error) {
	const script = `<script type="module" src="chat.js"></script>`
	if bytes.Count(page, []byte(script)) != 1 {
		return nil, fmt.Errorf("index.html has no %s", script)
	}
	instead := fmt.Sprintf("<meta http-equiv=\"Content-Security-Policy\" content=\"%s\">\n<link rel=\"stylesheet\" href=\"web.css\">\n<script type=\"module\" src=\"web.js\"></script>", policy)
	return bytes.Replace(page, []byte(script), []byte(instead), 1), nil
}

// offline is the service worker with the names of the site's files, and their hash as the version.
func offline(files map[string][]byte) ([]byte, error) {
	const mark = `{ version: "", files: [] }`
	names, hash := []string{"./"}, sha256.New()
	for name := range files {
		if name != "offline.js" && name != "index.html" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range append(names, "index.html", "offline.js") {
		fmt.Fprintf(hash, "%s %x\n", name, sha256.Sum256(files[name]))
	}
	list, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	text := string(files["offline.js"])
	if strings.Count(text, mark) != 1 {
		return nil, fmt.Errorf("offline.js has no %s", mark)
	}
	version := hex.EncodeToString(hash.Sum(nil)[:8])
	return []byte(strings.Replace(text, mark, fmt.Sprintf(`{ version: %q, files: %s }`, version, list), 1)), nil
}
