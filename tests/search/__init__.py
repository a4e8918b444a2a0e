"""A seeded search for faults: real processes, drawn schedules, counted promises."""
