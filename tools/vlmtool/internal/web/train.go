package web

import (
	"embed"
	"errors"
	"io/fs"
	"path"

	"patchwork/tools/vlmtool/internal/serve"
)

//go:embed train
var trainFiles embed.FS

// trainProgram are the files of folder program that the page of training needs.
var trainProgram = []string{"browser.js", "train.bin", "simd.js", "wasm_exec.js"}

// TrainPage returns the files, by name, of the page train.html, on which the visitor's browser trains
// the demo's model.
func TrainPage() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range trainProgram {
		data, err := programFiles.ReadFile("program/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNoProgram
		} else if err != nil {
			return nil, err
		}
		files[name] = data
	}
	from := sub(trainFiles, "train")
	names, err := fs.Glob(from, "*")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if files[path.Base(name)], err = fs.ReadFile(from, name); err != nil {
			return nil, err
		}
	}
	files["icon.svg"], err = fs.ReadFile(serve.Page(), "icon.svg")
	return files, err
}
