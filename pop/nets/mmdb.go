package nets

import (
	"fmt"
	"os"
	"strconv"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/catchment/catchment/policy/steer"
)

// Database reads a MaxMind DB of any type. Of what it says of a network the
// most special word that known accepts is the location: `location` (the user's
// own databases), region ("FR-IDF", ISO 3166-2), country ("FR"), continent
// ("EU"), provider ("AS64500"). Known nil: `location`, country or provider.
//
// The file is walked once and closed: nothing of it is looked up later.
func Database(path string, known func(string) bool) (*steer.Nets, error) {
	s, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if s.Size() > maxDatabase {
		return nil, fmt.Errorf("%s: %d bytes: more than %d", path, s.Size(), maxDatabase)
	}
	db, err := maxminddb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer db.Close()
	return walk(path, db, known)
}

// DatabaseBytes is Database for a file that is in memory.
func DatabaseBytes(name string, data []byte, known func(string) bool) (*steer.Nets, error) {
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return walk(name, db, known)
}

// record is what we look for.
type record struct {
	Location  string `maxminddb:"location"`
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Subdivisions []struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"subdivisions"`
	ASN uint32 `maxminddb:"autonomous_system_number"`
}

// words are what a record says, the most special first.
func (r *record) words() []string {
	w := []string{r.Location}
	if r.Country.Code != "" {
		for i := len(r.Subdivisions) - 1; i >= 0; i-- {
			w = append(w, r.Country.Code+"-"+r.Subdivisions[i].Code)
		}
	}
	w = append(w, r.Country.Code, r.Continent.Code)
	if r.ASN != 0 {
		w = append(w, "AS"+strconv.FormatUint(uint64(r.ASN), 10))
	}
	return w
}

// location is the word that counts.
func (r *record) location(known func(string) bool) string {
	if known == nil {
		known = func(s string) bool {
			return s == r.Location || s == r.Country.Code || r.ASN != 0 && len(s) > 2 && s[:2] == "AS"
		}
	}
	for _, s := range r.words() {
		if s != "" && known(s) {
			return s
		}
	}
	return ""
}

// A database says little of very many networks: each record is read once. A
// broken one may have a tree that leads back into itself and would be walked
// for ever: a sound one has one leaf more than it has nodes.
func walk(name string, db *maxminddb.Reader, known func(string) bool) (*steer.Nets, error) {
	f := newFile(name)
	seen := map[uintptr]string{}
	left := 2*uint64(db.Metadata.NodeCount) + 2
	for res := range db.Networks(maxminddb.IncludeNetworksWithoutData()) {
		if left--; left == 0 {
			return nil, fmt.Errorf("%s: the tree of networks leads back into itself", name)
		}
		if err := res.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !res.Found() {
			continue
		}
		p := res.Prefix()
		loc, ok := seen[res.Offset()]
		if !ok {
			var r record
			if err := res.Decode(&r); err != nil {
				return nil, fmt.Errorf("%s: network %v: %w", name, p, err)
			}
			loc = r.location(known)
			if err := checkLocation(loc); err != nil {
				return nil, fmt.Errorf("%s: network %v: %w", name, p, err)
			}
			seen[res.Offset()] = loc
		}
		if loc == "" {
			continue
		}
		if err := f.b.Add(p.Masked(), loc, 0); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return f.done()
}
