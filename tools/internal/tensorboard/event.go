package tensorboard

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of TensorFlow's event.proto and summary.proto, as far as they are used
// here. Numbers after names in comments are field numbers.

// value is a Summary.Value with its tag.
type value struct {
	tag  string
	body []byte // the fields after the tag
}

// scalar has simple_value = 2.
func scalar(tag string, x float64) value {
	body := protowire.AppendTag(nil, 2, protowire.Fixed32Type)
	return value{tag, protowire.AppendFixed32(body, math.Float32bits(float32(x)))}
}

// rgbImage has image = 4: height 1, width 2, colorspace 3 (3 = RGB), encoded
// PNG 4.
func rgbImage(tag string, height, width int, png []byte) value {
	image := number(nil, 1, uint64(height))
	image = number(image, 2, uint64(width))
	image = number(image, 3, 3)
	image = bytes(image, 4, png)
	return value{tag, bytes(nil, 4, image)}
}

// text has metadata = 9 for the plugin "text", and tensor = 8 with one string:
// Markdown, from which TensorBoard removes HTML.
func text(tag, markdown string) value {
	plugin := bytes(nil, 1, []byte("text"))             // PluginData.plugin_name
	metadata := bytes(nil, 1, plugin)                   // SummaryMetadata.plugin_data
	dimension := number(nil, 1, 1)                      // TensorShapeProto.Dim.size
	tensor := number(nil, 1, 7)                         // TensorProto.dtype: DT_STRING
	tensor = bytes(tensor, 2, bytes(nil, 2, dimension)) // tensor_shape, dim
	tensor = bytes(tensor, 8, []byte(markdown))         // string_val
	return value{tag, bytes(bytes(nil, 8, tensor), 9, metadata)}
}

// fileVersion is the first event of a file: file_version = 3.
func fileVersion(at time.Time) []byte { return bytes(head(at, 0), 3, []byte("brain.Event:2")) }

// sessionStart makes TensorBoard discard this and later steps of earlier files:
// session_log = 7 with status 1 = START.
func sessionStart(at time.Time, step int) []byte {
	return bytes(head(at, step), 7, number(nil, 1, 1))
}

// summary is an event with a step's values: summary = 5, value 1 each.
func summary(at time.Time, step int, values ...value) []byte {
	var all []byte
	for _, v := range values {
		all = bytes(all, 1, append(bytes(nil, 1, []byte(v.tag)), v.body...))
	}
	return bytes(head(at, step), 5, all)
}

// head is an event's wall_time = 1, in seconds, and step = 2.
func head(at time.Time, step int) []byte {
	out := protowire.AppendTag(nil, 1, protowire.Fixed64Type)
	out = protowire.AppendFixed64(out, math.Float64bits(float64(at.UnixMicro())/1e6))
	return number(out, 2, uint64(step))
}

func number(to []byte, field protowire.Number, x uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(to, field, protowire.VarintType), x)
}

func bytes(to []byte, field protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), data)
}
