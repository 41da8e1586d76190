#include "tests/kernel/study/support.h"

#include <fstream>

namespace colonnade::host {

std::filesystem::path TestFolder::write(const std::string& name, const std::string& text) const {
  const std::filesystem::path file = path_ / name;
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

}  // namespace colonnade::host
