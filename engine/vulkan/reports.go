package vulkan

import "embed"

// Reports are the committed results of make gpu-report,
// testdata/reports/NAME/report.json: measurements of devices.
//
//go:embed testdata/reports
var Reports embed.FS

// ReportsDir is their directory in Reports.
const ReportsDir = "testdata/reports"
