package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/vlm/image"
)

// What a file may be, by its first bytes.
const (
	holdsGGUF    = "GGUF"
	holdsTensors = "safetensors"
	holdsPicture = "picture"
)

// contentOf tells what a file holds by its first bytes, since caches name files by their
// hashes, and by its name where these say nothing; "" for what may be a data set.
func contentOf(path string) (string, error) {
	byName := map[string]string{".gguf": holdsGGUF, ".safetensors": holdsTensors}[filepath.Ext(path)]
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return byName, nil // which is said by who opens it
	}
	file, err := smallfile.Open(path, 1<<62)
	if err != nil {
		return "", err
	}
	defer file.Close()
	head := make([]byte, 32)
	n, err := io.ReadFull(file, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", err
	}
	head = head[:n]
	switch {
	case strings.HasPrefix(string(head), "GGUF"):
		return holdsGGUF, nil
	case n >= 9 && head[8] == '{' && binary.LittleEndian.Uint64(head) <= uint64(info.Size()):
		return holdsTensors, nil
	case isPicture(string(head)):
		return holdsPicture, nil
	}
	return byName, nil
}

// isPicture tells the forms that pictures are stored in, also those that are not read,
// which are refused by their names.
func isPicture(head string) bool {
	for _, magic := range []string{"\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF8", "BM", "II*\x00", "MM\x00*", "II+\x00", "MM\x00+", "\x00\x00\x01\x00"} {
		if strings.HasPrefix(head, magic) {
			return true
		}
	}
	return len(head) >= 12 && (head[:4] == "RIFF" && head[8:12] == "WEBP" || head[4:8] == "ftyp" && (head[8:12] == "avif" || head[8:12] == "avis"))
}

// inspectPicture tells a picture's form and size, and whether it can be read.
func (a *app) inspectPicture(path string) error {
	raw, err := smallfile.Read(path, smallfile.Picture)
	if err != nil {
		return err
	}
	_, _, form, err := image.DecodeConfig(raw)
	var m *image.RGB
	if err == nil {
		m, err = image.Decode(raw)
	}
	if err != nil {
		return fmt.Errorf("%s: a picture that cannot be read: %w", path, err)
	}
	if a.json {
		return a.result(map[string]any{"file": path, "format": form, "width": m.W, "height": m.H})
	}
	_, err = fmt.Fprintf(a.stdout, "%s: a picture, %s, %d×%d pixels\n", printable(path), form, m.W, m.H)
	return err
}
