package main

import (
	"fmt"

	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/matrix"
)

// judgeCatchments refuses a file of measured catchments that cannot be read.
func judgeCatchments(file string) error {
	_, err := matrix.ReadFile(file)
	return err
}

// seed begins the response matrices with what a configuration knows of them.
func (d *parts) seed(cfg *config.Config) error {
	var c *matrix.Catchments
	if cfg.Matrix.File != "" {
		var err error
		if c, err = matrix.ReadFile(cfg.Matrix.File); err != nil {
			return fmt.Errorf("matrix.file: %w", err)
		}
	}
	s := pop.Seeds(cfg, c)
	d.matrix.Set(s)
	for _, r := range s.Remarks() {
		d.log.Warn("measured catchments: " + r)
	}
	return nil
}
