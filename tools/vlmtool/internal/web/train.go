package web

import (
	"embed"
	"errors"

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
	err = errors.Join(
		add(files, sub(trainFiles, "train"), "*"),
		add(files, sub(siteFiles, "site"), "about.js", "program.js"),
		add(files, serve.Page(), "element.js", "icon.svg"),
	)
	return files, err
}
