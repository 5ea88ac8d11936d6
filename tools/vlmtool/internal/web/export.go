package web

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"patchwork/internal/durable"
	"patchwork/internal/smallfile"
	"patchwork/tools/vlmtool/internal/serve"
	"patchwork/vlm/generate"
	"patchwork/vlm/image"
	"patchwork/vlm/pretrained"
)

// Options are the inputs of Export.
type Options struct {
	// ExportOptions are those of the weights; Out is the site's folder. Without Quantize a GGUF file
	// stays as it is, and anything else becomes q8_0.
	pretrained.ExportOptions
	Context  int      // tokens of a prompt and its answer; the model may have fewer
	Examples []string // files of images that the page offers to begin with
	Training bool     // add the page on which the visitor's browser trains the demo's model
}

// pieceBytes is the largest piece of the weights: what static hosts and browsers' caches take.
const pieceBytes = 64 << 20

// answerTokens is the part of the context that is an answer.
const answerTokens = 256

// Site describes what Export wrote.
type Site struct {
	Parameters  int64
	Weights     string // how they are stored
	WeightBytes int64  // to download
	MemoryBytes int64  // of weights, cache and activations
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
	file, err := weights(ctx, o, dir)
	if err != nil {
		return Site{}, err
	}
	m, err := pretrained.Plan(file, pretrained.LoadOptions{Weights: pretrained.WeightsAuto})
	if err != nil {
		return Site{}, err
	}
	context := min(o.Context, m.Config.Text.MaxPositionEmbeddings)
	rest, err := generate.PlanMemory(m, context-min(answerTokens, context/2), min(answerTokens, context/2))
	if err != nil {
		return Site{}, err
	}
	all := manifest{ID: id(o.Model), MemoryBytes: m.WeightBytes() + rest.Total(), Context: context, Training: o.Training}
	if all.Pieces, err = split(file, dir); err != nil {
		return Site{}, err
	}
	if all.Examples, err = copyExamples(o.Examples, dir); err != nil {
		return Site{}, err
	}
	if file != o.Model {
		err = os.Remove(file)
	}
	s := Site{Parameters: m.Params.Count(), Weights: m.WeightsName(), MemoryBytes: all.MemoryBytes, Context: context}
	for _, p := range all.Pieces {
		s.WeightBytes += p.Bytes
	}
	if err := errors.Join(err, writeSite(dir, all), os.Chmod(dir, 0o755)); err != nil {
		return Site{}, err
	}
	return s, errors.Join(durable.SyncFiles(filepath.Join(dir, weightsFolder)), durable.SyncDir(dir))
}

// partOfModel matches the name of a model in several files.
var partOfModel = regexp.MustCompile(`-\d{5}-of-\d{5}\.gguf$`)

// weights returns the model as one GGUF file: its own, or one that it writes into a folder.
func weights(ctx context.Context, o Options, dir string) (file string, err error) {
	e := o.ExportOptions
	if e.Quantize == "" && e.Adapter == "" && e.MMProj == "" && strings.HasSuffix(e.Model, ".gguf") && !partOfModel.MatchString(e.Model) {
		return e.Model, nil
	}
	e.Out, e.Quantize = filepath.Join(dir, "model.gguf"), cmp.Or(e.Quantize, "q8_0")
	_, err = pretrained.Export(ctx, e)
	return e.Out, err
}

// copyExamples copies images that a model can read.
func copyExamples(images []string, dir string) ([]string, error) {
	var files []string
	for i, file := range images {
		data, err := smallfile.Read(file, smallfile.Image)
		if err != nil {
			return nil, fmt.Errorf("--example %w", err)
		}
		if _, err := image.Decode(data); err != nil {
			return nil, fmt.Errorf("--example %s: %w", file, err)
		}
		name := fmt.Sprintf("example-%d%s", i+1, strings.ToLower(filepath.Ext(file)))
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return nil, err
		}
		files = append(files, name)
	}
	return files, nil
}

// id is the model's name on the page: as in the API, and of a demo's folder, which is always called
// model, that of the folder around it.
func id(model string) string {
	if id := serve.ModelID(model); id != "model" {
		return id
	}
	return serve.ModelID(filepath.Join(model, ".."))
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
