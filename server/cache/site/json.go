package site

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"
)

// ParseJSON reads one site from JSON, with the keys of the configuration. A key
// that is not known is an error. It does not validate.
func ParseJSON(text []byte) (Config, error) {
	var settings map[string]any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&settings); err != nil {
		return Config{}, fmt.Errorf("site: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Config{}, errors.New("site: more than one object")
	}
	return decodeConfig(settings)
}

// ParseYAML reads a file of sites: a list of them, or one below the key sites.
// It does not validate.
func ParseYAML(text []byte) ([]Config, error) {
	var top any
	if err := yaml.Unmarshal(text, &top); err != nil {
		return nil, fmt.Errorf("sites: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	if m, ok := top.(map[string]any); ok && len(m) == 1 && m["sites"] != nil {
		top = m["sites"]
	}
	list, ok := top.([]any)
	if !ok && top != nil {
		return nil, errors.New("sites: want a list of sites, or one below the key sites")
	}
	var out []Config
	var errs []error
	for i, e := range list {
		settings, ok := e.(map[string]any)
		if !ok {
			errs = append(errs, fmt.Errorf("sites[%d]: want a section of keys", i))
			continue
		}
		c, err := decodeConfig(settings)
		if err != nil {
			errs = append(errs, fmt.Errorf("sites[%d]: %w", i, err))
		}
		out = append(out, c)
	}
	return out, errors.Join(errs...)
}

// MarshalJSON writes the site with the keys of the configuration, what is not
// set left out.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(settings(reflect.ValueOf(c))) }

// UnmarshalJSON is ParseJSON.
func (c *Config) UnmarshalJSON(text []byte) (err error) {
	*c, err = ParseJSON(text)
	return err
}

// decodeConfig fills a Config from keys and values.
func decodeConfig(settings map[string]any) (c Config, err error) {
	dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: &c, ErrorUnused: true, DecodeHook: convert,
		MatchName: func(key, field string) bool { return key == field },
	})
	if err == nil {
		err = dec.Decode(settings)
	}
	if err != nil {
		name, _ := settings["name"].(string)
		return c, fmt.Errorf("site %q: %w", name, err)
	}
	return c, nil
}

// convert is the decode hook: text and numbers to our types.
func convert(from reflect.Value, to reflect.Value) (any, error) {
	if n, ok := from.Interface().(json.Number); ok {
		return convertNumber(n, to)
	}
	if from.Kind() != reflect.String {
		if to.Type() == durationType && from.CanInt() && from.Int() != 0 {
			return nil, errors.New("want a duration with its unit, such as 10s")
		}
		return from.Interface(), nil
	}
	s := from.String()
	switch to.Type() {
	case durationType:
		d, err := time.ParseDuration(s)
		if err == nil && d < 0 {
			err = fmt.Errorf("a duration cannot be negative, got %q", s)
		}
		return d, err
	case sizeType:
		return ParseSize(s)
	case prefixType:
		p, err := netip.ParsePrefix(s)
		if err == nil && p != p.Masked() {
			err = fmt.Errorf("%s has host bits set: did you mean %s?", p, p.Masked())
		}
		return p, err
	}
	return s, nil
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
)

func convertNumber(n json.Number, to reflect.Value) (any, error) {
	switch {
	case to.Type() == durationType:
		return nil, fmt.Errorf("want a duration with its unit, such as 10s, got %s", n)
	case to.Kind() == reflect.Float64:
		return n.Float64()
	case to.Kind() == reflect.String:
		return nil, fmt.Errorf("want text, got %s", n)
	}
	return n.Int64()
}

// settings is a value as keys and values, what is not set left out.
func settings(v reflect.Value) any {
	switch v.Type() {
	case durationType:
		return v.Interface().(time.Duration).String()
	case sizeType, prefixType:
		return v.Interface().(fmt.Stringer).String()
	}
	switch v.Kind() {
	case reflect.Pointer:
		return settings(v.Elem())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = settings(v.Index(i))
		}
		return list
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			f := v.Field(i)
			empty := f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0
			if key := v.Type().Field(i).Tag.Get("mapstructure"); !empty {
				m[key] = settings(f)
			}
		}
		return m
	}
	return v.Interface()
}
