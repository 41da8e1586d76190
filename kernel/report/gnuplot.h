#pragma once

#include <filesystem>
#include <string>

namespace colonnade::host {

struct Drawing {
  std::string svg, png;  // the files' bytes, without what names program, date or path
  std::string problem;   // why there are none
};

// Runs a script that writes figure.svg and figure.png, in a folder of its own that is removed again.
Drawing draw_with_gnuplot(const std::string& script);

}  // namespace colonnade::host
