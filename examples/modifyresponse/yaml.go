// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// yamlFromJSON returns a JSON text as YAML, with the keys of objects sorted.
// Strings stay in JSON's quotes, which YAML understands.
func yamlFromJSON(text []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // so that numbers stay as they are written
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("read JSON: there is more after the first value")
	}
	var b bytes.Buffer
	writeYAML(&b, v, "")
	return b.Bytes(), nil
}

// writeYAML writes v, which the decoder has made, and ends the line. indent
// stands before its further lines.
func writeYAML(b *bytes.Buffer, v any, indent string) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			b.WriteString("{}\n")
			return
		}
		for i, key := range slices.Sorted(maps.Keys(v)) {
			writeEntry(b, quote(key)+":", v[key], indent, i == 0)
		}
	case []any:
		if len(v) == 0 {
			b.WriteString("[]\n")
			return
		}
		for i, elem := range v {
			writeEntry(b, "-", elem, indent, i == 0)
		}
	default:
		b.WriteString(quote(v) + "\n")
	}
}

// writeEntry writes one entry of an object or list. The first stands where the
// line already is.
func writeEntry(b *bytes.Buffer, mark string, v any, indent string, first bool) {
	if !first {
		b.WriteString(indent)
	}
	b.WriteString(mark)
	inner := indent + "  "
	if mark == "-" || isFlat(v) {
		b.WriteString(" ") // goes on in the same line
	} else {
		b.WriteString("\n" + inner)
	}
	writeYAML(b, v, inner)
}

// isFlat reports whether v takes a single line.
func isFlat(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return true
}

// quote returns a string, number, boolean or null as JSON, which YAML reads in
// the same way.
func quote(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // cannot be: v came from JSON
		return "null"
	}
	return string(text)
}
