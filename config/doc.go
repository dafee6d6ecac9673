// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package config holds the settings of a server as plain data and reads them
// from YAML.
//
// [Load] reads a file into a [Config]. A program that has settings of its own
// declares a [Section] for each:
//
//	var limits struct {
//		Rate  int           `yaml:"rate,required" min:"1"`
//		Burst int           `yaml:"burst" default:"10"`
//		Wait  time.Duration `yaml:"wait" default:"50ms"`
//		Body  int64         `yaml:"body" unit:"bytes" default:"10MiB"`
//	}
//	cfg, err := config.Load("conf.yaml", config.Section{Key: "limits", Value: &limits})
//
// # Binding
//
// A value is bound to a Go variable of a boolean, string, integer or floating
// point type, [time.Duration], any type with an UnmarshalText method
// ([net/netip.Addr], for example), and to structs, pointers, slices and maps
// with string keys of those. These tags of a struct field say how:
//
//	yaml:"name"           the key; a field without it cannot be set
//	yaml:"name,required"  the key must be there
//	yaml:"name,notzero"   0 must not be written: see below
//	yaml:",inline"        the keys of this struct belong to the one around it
//	default:"10MiB"       what zero means; [ApplyDefaults] puts it there
//	min:"1" max:"64"      the range of what is neither zero nor left out
//	unit:"bytes"          an integer that may be written "10MiB" or "64kB"
//	unit:"s"              a duration that may be written as a number of seconds
//
// A type that has both an UnmarshalText method and fields can be written
// either way, so that "10.0.0.1:80" can be short for "{addr: 10.0.0.1:80}".
//
// Zero means the default and negative means off or unlimited, in Go and in
// the file. Where 0 in a file would more likely be meant as "none", the field
// is marked notzero, and 0 is an error that says what to write.
//
// An empty value, as in "user:", leaves its variable as it is. Anchors,
// aliases and merge keys ("<<") work, and a top-level key that starts with
// "x-" is left alone, as a place for them.
//
// # Problems
//
// All problems of a file are reported together, each as an [*Error] with file,
// line and column: unknown keys with the nearest known one, keys that occur
// twice, values of the wrong type or out of range, and what the Validate
// methods of the bound types find. Files that would take long to read are
// refused: see [MaxFileBytes].
package config

//go:generate go test -run TestReference . -update
