// Command scaledata writes data sets as large as one wants, to measure the loader: rows with one
// image each, as parquet files in FineVision's schema.
//
//	go run ./tools/scaledata --out DIR --rows 20000 --group 1000
//	go run ./tools/scaledata --out DIR --rows 1000000 --width 64 --height 64 --kind png
//
// Images are a few pictures of noise over gradients, which compress like photographs, each time
// with another comment in the file. The same flags give the same bytes.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"patchwork/vlm/data"
)

type options struct {
	out           string
	rows, group   int
	files         int
	width, height int
	kind          string
	quality       int
}

// pictures is the number of different pictures.
const pictures = 32

func main() {
	var o options
	pflag.StringVar(&o.out, "out", "", "folder for the parquet files")
	pflag.IntVar(&o.rows, "rows", 20000, "number of rows")
	pflag.IntVar(&o.group, "group", 1000, "rows in a row group")
	pflag.IntVar(&o.files, "files", 4, "number of files")
	pflag.IntVar(&o.width, "width", 640, "width of the images")
	pflag.IntVar(&o.height, "height", 480, "height of the images")
	pflag.StringVar(&o.kind, "kind", "jpeg", "jpeg or png")
	pflag.IntVar(&o.quality, "quality", 85, "quality of JPEGs")
	pflag.Parse()
	if o.out == "" || min(o.rows, o.group, o.files, o.width, o.height) < 1 || o.kind != "jpeg" && o.kind != "png" || pflag.NArg() > 0 {
		fmt.Fprint(os.Stderr, "usage: scaledata --out DIR [flags]\n", pflag.CommandLine.FlagUsages())
		os.Exit(2)
	}
	if err := generate(o); err != nil {
		fmt.Fprintln(os.Stderr, "scaledata:", err)
		os.Exit(1)
	}
}

func generate(o options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	var encoded [pictures][]byte
	for i := range encoded {
		var err error
		if encoded[i], err = encode(o, picture(o.width, o.height, uint64(i))); err != nil {
			return err
		}
	}
	row := 0
	var total int64
	for f := range o.files {
		path := filepath.Join(o.out, fmt.Sprintf("train-%05d-of-%05d.parquet", f, o.files))
		end := o.rows * (f + 1) / o.files
		if err := write(path, o, &row, end, &encoded); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		total += info.Size()
	}
	fmt.Printf("%d rows in %d files of %s, %d MB\n", o.rows, o.files, o.out, total>>20)
	return nil
}

var colors = []string{"red", "green", "blue", "yellow", "gray", "black", "teal", "brown"}

// write writes the rows up to end to a file.
func write(path string, o options, row *int, end int, encoded *[pictures][]byte) error {
	w, err := data.Create(path)
	if err != nil {
		return err
	}
	w.GroupRows = o.group
	for ; *row < end; *row++ {
		i := *row
		r := data.Row{
			Images: [][]byte{withComment(o.kind, encoded[i%pictures], fmt.Sprintf("row %d", i))},
			Turns:  []data.Turn{{User: fmt.Sprintf("what color is shape %d?", i%97), Assistant: colors[i%pictures%len(colors)]}},
			Source: "scaledata",
		}
		if err := w.Write(r); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}

// picture returns noise over gradients.
func picture(width, height int, seed uint64) image.Image {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	phase := rng.Float64() * 7
	for y := range height {
		for x := range width {
			wave := 60 * math.Sin(phase+float64(x)/23+float64(y)/31*math.Cos(phase))
			level := func(c float64) uint8 { return uint8(max(0, min(255, c+wave+float64(rng.IntN(24))))) }
			m.SetRGBA(x, y, color.RGBA{level(128 * float64(x) / float64(width)), level(128 * float64(y) / float64(height)), level(90), 255})
		}
	}
	return m
}

func encode(o options, m image.Image) ([]byte, error) {
	var out bytes.Buffer
	var err error
	if o.kind == "png" {
		err = png.Encode(&out, m)
	} else {
		err = jpeg.Encode(&out, m, &jpeg.Options{Quality: o.quality})
	}
	return out.Bytes(), err
}

// withComment returns an image file with a comment after its first marker: a COM segment of a JPEG,
// a tEXt chunk after the IHDR of a PNG.
func withComment(kind string, file []byte, text string) []byte {
	at, segment := 2, append([]byte{0xff, 0xfe}, binary.BigEndian.AppendUint16(nil, uint16(len(text)+2))...)
	segment = append(segment, text...)
	if kind == "png" {
		const header = 8 + 25 // signature and IHDR
		chunk := append([]byte("tEXtComment\x00"), text...)
		at, segment = header, binary.BigEndian.AppendUint32(nil, uint32(len(chunk)-4))
		segment = append(segment, chunk...)
		segment = binary.BigEndian.AppendUint32(segment, crc32.ChecksumIEEE(chunk))
	}
	out := make([]byte, 0, len(file)+len(segment))
	out = append(append(out, file[:at]...), segment...)
	return append(out, file[at:]...)
}
