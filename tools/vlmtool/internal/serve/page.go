package serve

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page show the pictures and play the sounds that are put on it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Page returns the files of the chat page.
func Page() fs.FS {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return files
}

// page serves the chat page at /, and its files beside it.
func page(mux *http.ServeMux) {
	files := Page()
	all, err := fs.ReadDir(files, ".")
	if err != nil {
		panic(err)
	}
	serve := http.FileServerFS(files)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", pagePolicy)
		serve.ServeHTTP(w, r)
	})
	mux.Handle("GET /{$}", handler)
	for _, file := range all {
		mux.Handle("GET /"+file.Name(), handler)
	}
}
