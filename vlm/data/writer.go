package data

import (
	"errors"

	"github.com/parquet-go/parquet-go"

	"patchwork/internal/durable"
)

// A row group is closed when it reaches either limit.
const (
	groupRows  = 256
	groupBytes = 64 << 20
)

// features is the metadata by which Hugging Face datasets decodes the images.
const features = `{"info": {"features": {` +
	`"images": {"feature": {"_type": "Image"}, "_type": "List"}, ` +
	`"texts": {"feature": {"user": {"dtype": "string", "_type": "Value"}, "assistant": {"dtype": "string", "_type": "Value"}}, "_type": "List"}, ` +
	`"source": {"dtype": "string", "_type": "Value"}}}}`

// A record is a Row in the FineVision schema, without its ratings columns.
type record struct {
	Images []*imageRecord `parquet:"images,list,optional" parquet-element:",optional"`
	Texts  []*turnRecord  `parquet:"texts,list,optional" parquet-element:",optional"`
	Source *string        `parquet:"source,optional"`
}

type imageRecord struct {
	Bytes []byte  `parquet:"bytes,optional"`
	Path  *string `parquet:"path,optional"`
}

type turnRecord struct {
	User      *string `parquet:"user,optional"`
	Assistant *string `parquet:"assistant,optional"`
}

// A Writer writes rows to a parquet file in the FineVision schema, compressed with
// Snappy. It writes a temporary file, which Close renames.
type Writer struct {
	GroupRows int // rows of a row group; 0 = 256, and at most 64 MB

	file    *durable.File
	parquet *parquet.GenericWriter[record]
	rows    int // in the open row group
	bytes   int
	err     error
}

// Create creates a Writer for the file at path. Close or Abort must be called.
func Create(path string) (*Writer, error) {
	file, err := durable.Create(path)
	if err != nil {
		return nil, err
	}
	options := []parquet.WriterOption{parquet.Compression(&parquet.Snappy), parquet.KeyValueMetadata("huggingface", features)}
	for _, path := range [][]string{{"images", "list", "element", "bytes"}, {"texts", "list", "element", "user"}, {"texts", "list", "element", "assistant"}} {
		// Otherwise every page header and the footer would contain the column's smallest
		// and largest values, which are whole images.
		options = append(options, parquet.SkipPageBounds(path...), parquet.SkipPageStatistics(path...))
	}
	w := parquet.NewGenericWriter[record](file, options...)
	return &Writer{file: file, parquet: w}, nil
}

// Write appends a row; File and Index are not written. After an error, every call returns
// that error.
func (w *Writer) Write(r Row) error {
	if w.err != nil {
		return w.err
	}
	if _, w.err = w.parquet.Write([]record{recordOf(r)}); w.err != nil {
		return w.err
	}
	w.rows++
	w.bytes += r.Bytes()
	full := w.rows >= groupRows || w.bytes >= groupBytes
	if w.GroupRows > 0 {
		full = w.rows >= w.GroupRows
	}
	if full {
		w.rows, w.bytes = 0, 0
		w.err = w.parquet.Flush()
	}
	return w.err
}

func recordOf(r Row) record {
	rec := record{Source: &r.Source}
	for _, image := range r.Images {
		rec.Images = append(rec.Images, &imageRecord{Bytes: image})
	}
	for i := range r.Turns {
		rec.Texts = append(rec.Texts, &turnRecord{&r.Turns[i].User, &r.Turns[i].Assistant})
	}
	return rec
}

// Close writes the footer, syncs the file and renames it to its path. After an error, it
// removes the temporary file and returns the first error.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = w.parquet.Close()
	}
	if w.err != nil {
		_ = w.file.Discard() // the first error is returned
		return w.err
	}
	w.err = w.file.Commit()
	return w.err
}

// Abort removes the temporary file.
func (w *Writer) Abort() {
	w.err = errors.New("aborted")
	w.Close()
}
