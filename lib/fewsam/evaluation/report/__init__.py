"""From results to statistics, tables, plots and provenance."""
