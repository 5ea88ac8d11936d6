package vulkan

import "embed"

// Reports are the committed ones of make gpu-report, testdata/reports/NAME/report.json:
// what was measured of devices.
//
//go:embed testdata/reports
var Reports embed.FS

// ReportsDir is where they lie in Reports.
const ReportsDir = "testdata/reports"
