package api

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The messages of catchment.proto and the types here have the same JSON, by
// which they are turned into each other: one meaning, said once. A test holds
// every field of both sides together.

// message is a pointer to a generated message.
type message[T any] interface {
	*T
	proto.Message
}

// toProto makes the message that has the JSON of v.
func toProto[T any, M message[T]](v any) (M, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	m := M(new(T))
	// A field that the test has missed must not cost the answer.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%T as a message: %w", v, err)
	}
	return m, nil
}

// fromProto makes v what has the JSON of the message.
func fromProto(m proto.Message, v any) error {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}
