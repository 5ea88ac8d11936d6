package data

import (
	"errors"
	"io"
	"strings"

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

// soundFeature is the part of features that sound adds.
const soundFeature = `"audios": {"feature": {"_type": "Audio"}, "_type": "List"}, `

// A record is a Row in the FineVision schema, without its ratings columns.
type record struct {
	Images []*fileRecord `parquet:"images,list,optional" parquet-element:",optional"`
	Texts  []*turnRecord `parquet:"texts,list,optional" parquet-element:",optional"`
	Source *string       `parquet:"source,optional"`
}

// A soundRecord is a record with sound.
type soundRecord struct {
	Images []*fileRecord `parquet:"images,list,optional" parquet-element:",optional"`
	Audios []*fileRecord `parquet:"audios,list,optional" parquet-element:",optional"`
	Texts  []*turnRecord `parquet:"texts,list,optional" parquet-element:",optional"`
	Source *string       `parquet:"source,optional"`
}

type fileRecord struct {
	Bytes []byte  `parquet:"bytes,optional"`
	Path  *string `parquet:"path,optional"`
}

type turnRecord struct {
	User      *string `parquet:"user,optional"`
	Assistant *string `parquet:"assistant,optional"`
}

// A Writer writes rows to a parquet file in the FineVision schema, compressed with
// Snappy. Of a path it writes a temporary file, which Close renames.
type Writer struct {
	GroupRows int // rows of a row group; 0 = 256, and at most 64 MB

	file    *durable.File // nil: the Writer of NewWriter
	parquet recordWriter
	rows    int // in the open row group
	bytes   int
	err     error
}

// recordWriter writes rows as records.
type recordWriter interface {
	writeRow(Row) error
	Flush() error
	Close() error
}

type imageWriter struct{ *parquet.GenericWriter[record] }

func (w imageWriter) writeRow(r Row) error {
	_, err := w.Write([]record{{files(r.Images), turns(r.Turns), &r.Source}})
	return err
}

type soundWriter struct {
	*parquet.GenericWriter[soundRecord]
}

func (w soundWriter) writeRow(r Row) error {
	_, err := w.Write([]soundRecord{{files(r.Images), files(r.Clips), turns(r.Turns), &r.Source}})
	return err
}

func files(all [][]byte) (out []*fileRecord) {
	for _, bytes := range all {
		out = append(out, &fileRecord{Bytes: bytes})
	}
	return out
}

func turns(all []Turn) (out []*turnRecord) {
	for i := range all {
		out = append(out, &turnRecord{&all[i].User, &all[i].Assistant})
	}
	return out
}

// Create creates a Writer for the file at path, which has no sound. Close or Abort must be called.
func Create(path string) (*Writer, error) { return create(path, false) }

// CreateWithSound is Create with a column of sound.
func CreateWithSound(path string) (*Writer, error) { return create(path, true) }

// NewWriter returns a Writer of a file's bytes, which have no sound. Close must be called.
func NewWriter(to io.Writer) *Writer { return &Writer{parquet: newRecordWriter(to, false)} }

func create(path string, sound bool) (*Writer, error) {
	file, err := durable.Create(path)
	if err != nil {
		return nil, err
	}
	return &Writer{file: file, parquet: newRecordWriter(file, sound)}, nil
}

func newRecordWriter(to io.Writer, sound bool) recordWriter {
	features := features
	if sound {
		features = strings.Replace(features, `"texts"`, soundFeature+`"texts"`, 1)
	}
	options := []parquet.WriterOption{parquet.Compression(&parquet.Snappy), parquet.KeyValueMetadata("huggingface", features)}
	for _, path := range [][]string{{"images", "list", "element", "bytes"}, {"audios", "list", "element", "bytes"}, {"texts", "list", "element", "user"}, {"texts", "list", "element", "assistant"}} {
		// Otherwise every page header and the footer would contain the column's smallest
		// and largest values, which are whole files.
		options = append(options, parquet.SkipPageBounds(path...), parquet.SkipPageStatistics(path...))
	}
	if sound {
		return soundWriter{parquet.NewGenericWriter[soundRecord](to, options...)}
	}
	return imageWriter{parquet.NewGenericWriter[record](to, options...)}
}

// Write appends a row; File and Index are not written. After an error, every call returns
// that error.
func (w *Writer) Write(r Row) error {
	if w.err != nil {
		return w.err
	}
	if w.err = w.parquet.writeRow(r); w.err != nil {
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

// Close writes the footer, syncs the file and renames it to its path. After an error, it
// removes the temporary file and returns the first error.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = w.parquet.Close()
	}
	if w.file == nil {
		return w.err
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
