package web

import (
	"embed"
	"io/fs"
	"path"

	"patchwork/tools/vlmtool/internal/serve"
)

//go:embed train
var trainFiles embed.FS

// TrainPage returns the files, by name, of the page train.html, on which the visitor's browser trains
// the demo's model.
func TrainPage() (map[string][]byte, error) {
	files, err := programs("train.bin")
	if err != nil {
		return nil, err
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
