package source

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// messageOf gives the descriptor of a type that is a protobuf message. Such
// types read JSON by themselves, and pass over what they do not know.
func messageOf(t reflect.Type) (protoreflect.MessageDescriptor, bool) {
	if t.Kind() != reflect.Pointer {
		t = reflect.PointerTo(t)
	}
	if !t.Implements(reflect.TypeFor[proto.Message]()) {
		return nil, false
	}
	m, ok := reflect.TypeAssert[proto.Message](reflect.Zero(t))
	if !ok {
		return nil, false
	}
	return m.ProtoReflect().Descriptor(), true
}

// message reads a protobuf message as proto-JSON has it, and gives what is good
// of it: fields that it does not have are left out and told.
func (w *walker) message(n *yaml.Node, d protoreflect.MessageDescriptor, path string, depth int) any {
	n = resolve(n)
	if w.tooLarge(n, path, depth) || n.Tag == "!!null" {
		return nil
	}
	if strings.HasPrefix(string(d.FullName()), "google.protobuf.") {
		return w.wellKnown(n, d, path)
	}
	if n.Kind != yaml.MappingNode {
		w.wrongType(n, path, "an object")
		return nil
	}
	names := map[string]reflect.Type{} // for the nearest one
	for i := range d.Fields().Len() {
		names[d.Fields().Get(i).JSONName()] = nil
	}
	out := map[string]any{}
	w.pairs(n, path, depth, func(k, v *yaml.Node) {
		sub := join(path, k.Value)
		f := d.Fields().ByJSONName(k.Value)
		if f == nil {
			f = d.Fields().ByTextName(k.Value) // proto-JSON takes both
		}
		if f == nil {
			w.unknownField(k, sub, string(d.Name()), names)
			return
		}
		w.origin.Fields[sub] = w.line(v)
		if got := w.protoField(v, f, sub, depth+1); got != nil {
			out[f.JSONName()] = got
		}
	})
	return out
}

func (w *walker) protoField(n *yaml.Node, f protoreflect.FieldDescriptor, path string, depth int) any {
	n = resolve(n)
	switch {
	case n.Tag == "!!null":
		return nil
	case f.IsMap():
		if n.Kind != yaml.MappingNode {
			w.wrongType(n, path, "a map")
			return nil
		}
		out := map[string]any{}
		w.pairs(n, path, depth, func(k, v *yaml.Node) {
			out[k.Value] = w.single(v, f.MapValue(), path+`["`+k.Value+`"]`, depth+1)
		})
		return out
	case f.IsList():
		if n.Kind != yaml.SequenceNode {
			w.wrongType(n, path, "a list")
			return nil
		}
		out := make([]any, 0, len(n.Content))
		for i, c := range n.Content {
			sub := fmt.Sprintf("%s[%d]", path, i)
			w.origin.Fields[sub] = w.line(c)
			out = append(out, w.single(c, f, sub, depth+1))
		}
		return out
	}
	return w.single(n, f, path, depth)
}

// single is one value: of the field, of an element of its list, or of its map.
func (w *walker) single(n *yaml.Node, f protoreflect.FieldDescriptor, path string, depth int) any {
	n = resolve(n)
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return w.message(n, f.Message(), path, depth)
	case protoreflect.EnumKind:
		return w.enum(n, f.Enum(), path)
	case protoreflect.BoolKind:
		return w.leaf(n, reflect.TypeFor[bool](), path)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return w.leaf(n, reflect.TypeFor[int32](), path)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return w.leaf(n, reflect.TypeFor[uint32](), path)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return w.leaf(n, reflect.TypeFor[int64](), path)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return w.leaf(n, reflect.TypeFor[uint64](), path)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return w.leaf(n, reflect.TypeFor[float64](), path)
	default:
		return w.leaf(n, reflect.TypeFor[string](), path)
	}
}

func (w *walker) enum(n *yaml.Node, d protoreflect.EnumDescriptor, path string) any {
	if n.Kind == yaml.ScalarNode && d.Values().ByName(protoreflect.Name(n.Value)) != nil {
		return n.Value
	}
	names := make([]string, 0, d.Values().Len())
	for i := range d.Values().Len() {
		names = append(names, string(d.Values().Get(i).Name()))
	}
	w.problem(Problem{
		Code: "wrong-value", Severity: Error, Line: w.line(n), Field: path, Value: brief(n),
		Allowed: strings.Join(names, ", "), Reason: "there is no such value", Mend: Meant(strings.ToUpper(n.Value), names),
	})
	return nil
}

// wellKnown is a message with a JSON form of its own: a duration, a wrapped
// number.
func (w *walker) wellKnown(n *yaml.Node, d protoreflect.MessageDescriptor, path string) any {
	var v any
	if err := n.Decode(&v); err == nil {
		if s, ok := v.(string); ok && d.Name() == "Duration" && isDuration(s) {
			return v
		}
		var raw []byte
		if raw, err = json.Marshal(v); err == nil && protojson.Unmarshal(raw, dynamicpb.NewMessage(d)) == nil {
			return v
		}
	}
	want := "a value of type " + string(d.Name())
	switch d.Name() {
	case "Duration":
		want = `a duration such as "30s", "500ms" or "1h"`
	case "BoolValue":
		want = "true or false"
	case "UInt32Value", "Int32Value", "UInt64Value", "Int64Value":
		want = "a whole number"
	case "DoubleValue", "FloatValue":
		want = "a number"
	}
	w.wrongType(n, path, want)
	return nil
}

// isDuration says whether Istio takes a text for a duration: it reads Go's form
// ("1h30m", "500ms"), of which that of proto-JSON, seconds, is a part.
func isDuration(s string) bool {
	_, err := time.ParseDuration(s)
	return err == nil
}
