package inspect

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"patchwork/internal/smallfile"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/vlm/image"
)

// Types of files that are found by their first bytes.
const (
	contentGGUF        = "GGUF"
	contentSafetensors = "safetensors"
	contentImage       = "image"
)

// contentOf is the type of a file by its first bytes, since caches name files by their
// hashes, else by its extension; "" for anything else, which may be a data set.
func contentOf(path string) (string, error) {
	byName := map[string]string{".gguf": contentGGUF, ".safetensors": contentSafetensors}[filepath.Ext(path)]
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return byName, nil // the error comes from opening it
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
		return contentGGUF, nil
	case n >= 9 && head[8] == '{' && binary.LittleEndian.Uint64(head) <= uint64(info.Size()):
		return contentSafetensors, nil
	case isImage(string(head)):
		return contentImage, nil
	}
	return byName, nil
}

// isImage reports whether a file begins as one of the image formats, supported or not;
// decoding an unsupported one is an error that names the format.
func isImage(head string) bool {
	for _, magic := range []string{"\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF8", "BM", "II*\x00", "MM\x00*", "II+\x00", "MM\x00+", "\x00\x00\x01\x00"} {
		if strings.HasPrefix(head, magic) {
			return true
		}
	}
	return len(head) >= 12 && (head[:4] == "RIFF" && head[8:12] == "WEBP" || head[4:8] == "ftyp" && (head[8:12] == "avif" || head[8:12] == "avis"))
}

// inspectImage prints an image's format and size, or why it cannot be decoded.
func inspectImage(a *cli.App, path string) error {
	raw, err := smallfile.Read(path, smallfile.Image)
	if err != nil {
		return err
	}
	_, _, format, err := image.DecodeConfig(raw)
	var m *image.RGB
	if err == nil {
		m, err = image.Decode(raw)
	}
	if err != nil {
		return fmt.Errorf("%s: an image that cannot be decoded: %w", path, err)
	}
	if a.JSON {
		return a.Result(map[string]any{"file": path, "format": format, "width": m.W, "height": m.H})
	}
	_, err = fmt.Fprintf(a.Stdout, "%s: an image, %s, %d×%d pixels\n", terminal.Printable(path), format, m.W, m.H)
	return err
}
