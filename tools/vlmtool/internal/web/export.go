package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"patchwork/internal/durable"
	"patchwork/vlm/generate"
	"patchwork/vlm/pretrained"
)

// Options are the inputs of Export.
type Options struct {
	pretrained.ExportOptions     // of the weights; Out is the site's folder
	Context                  int // tokens of a prompt and its answer; the model may have fewer
}

// pieceBytes is the largest piece of the weights: what static hosts and browsers' caches take.
const pieceBytes = 64 << 20

// answerTokens is the part of the context that is an answer.
const answerTokens = 256

// Site describes what Export wrote.
type Site struct {
	pretrained.Description
	WeightBytes int64 // to download
	MemoryBytes int64 // of weights, cache and activations
	Context     int
}

// Export writes a site for a model. The folder appears when it is complete.
func Export(ctx context.Context, o Options) (s Site, err error) {
	if _, err := shared(); err != nil {
		return Site{}, err
	}
	if err := pretrained.CheckOut(o.Out); err != nil {
		return Site{}, fmt.Errorf("--out: %w", err)
	}
	out, err := filepath.Abs(o.Out)
	if err != nil {
		return Site{}, err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return Site{}, err
	}
	temp, err := os.MkdirTemp(filepath.Dir(out), ".site-*")
	if err != nil {
		return Site{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	if s, err = export(ctx, o, temp); err != nil {
		return Site{}, err
	}
	if err := os.Remove(out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Site{}, err // it is empty
	}
	return s, os.Rename(temp, out)
}

// export writes the site into a folder.
func export(ctx context.Context, o Options, dir string) (Site, error) {
	file := filepath.Join(dir, "model.gguf")
	weights := o.ExportOptions
	weights.Out = file
	description, err := pretrained.Export(ctx, weights)
	if err != nil {
		return Site{}, err
	}
	m, err := pretrained.Plan(file, pretrained.LoadOptions{})
	if err != nil {
		return Site{}, err
	}
	context := min(o.Context, m.Config.Text.MaxPositionEmbeddings)
	rest, err := generate.PlanMemory(m, context-min(answerTokens, context/2), min(answerTokens, context/2))
	if err != nil {
		return Site{}, err
	}
	all := manifest{ID: name(o.Model), MemoryBytes: m.WeightBytes() + rest.Total(), Context: context}
	if all.Pieces, err = split(file, dir); err != nil {
		return Site{}, err
	}
	s := Site{Description: description, MemoryBytes: all.MemoryBytes, Context: context}
	for _, p := range all.Pieces {
		s.WeightBytes += p.Bytes
	}
	if err := errors.Join(writeSite(dir, all), os.Remove(file), os.Chmod(dir, 0o755)); err != nil {
		return Site{}, err
	}
	return s, errors.Join(durable.SyncFiles(filepath.Join(dir, weightsFolder)), durable.SyncDir(dir))
}

// name is the model's name on the page: that of its folder or file, and of a demo's folder, which is
// always called model, that of the folder around it.
func name(model string) string {
	if whole, err := filepath.Abs(model); err == nil {
		model = whole
	}
	if base := filepath.Base(model); base != "model" {
		return strings.TrimSuffix(base, ".gguf")
	}
	return filepath.Base(filepath.Dir(model))
}

const weightsFolder = "weights"

// split copies a file into pieces that are named by their hashes.
func split(file, dir string) ([]piece, error) {
	folder := filepath.Join(dir, weightsFolder)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	from, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	var pieces []piece
	for {
		data, err := io.ReadAll(io.LimitReader(from, pieceBytes))
		if err != nil {
			return nil, err
		}
		if len(data) == 0 {
			return pieces, nil
		}
		sum := sha256.Sum256(data)
		p := piece{File: weightsFolder + "/" + hex.EncodeToString(sum[:8]) + ".bin", Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(p.File)), data, 0o644); err != nil {
			return nil, err
		}
		pieces = append(pieces, p)
	}
}
