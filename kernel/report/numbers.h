#pragma once

#include <string>

#include "colonnade/json.h"
#include "colonnade/value.h"
#include "kernel/report/statistics.h"

namespace colonnade::host {

// The shortest text that reads back to the same double; "NaN", "inf", "-inf" for those. For JSON and CSV.
std::string exact_number(double number);
// For people: `digits` significant digits, thousands grouped from 10,000 on, exponents outside 1e-4 .. 1e9.
std::string readable_number(double number, int digits = 4);
// "5.123 ± 0.021" with the half width of the interval, or the number alone where there is none or all numbers are the
// same.
std::string readable_summary(const Summary& summary);
// A double as JSON; NaN and infinities as strings, since JSON has none.
Json json_number(double number);

}  // namespace colonnade::host
