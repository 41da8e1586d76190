#include "colonnade/parse_json.h"

#include <algorithm>
#include <set>
#include <vector>

#include "colonnade/error.h"
#include "colonnade/text.h"

namespace colonnade {
namespace {

constexpr std::size_t kShownBytes = 60;

std::string line_text(std::string_view text, std::size_t byte) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(byte, text.size()));
  return std::to_string(1 + std::count(text.begin(), end, '\n'));
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where, int deepest) {
  std::vector<std::set<std::string>> names;  // of the objects that are open
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > deepest) {
      throw Error(ErrorKind::input, where + ": is nested more than " + std::to_string(deepest) + " levels deep");
    }
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key && !names.back().insert(parsed.get<std::string>()).second) {
      throw Error(ErrorKind::input,
                  where + ": has " + shortened(json_text(parsed), kShownBytes) + " twice in one object");
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const Json::parse_error& error) {
    throw Error(ErrorKind::input,
                where + ":" + line_text(text, error.byte) + ": is no JSON" + (text.empty() ? ", it is empty" : ""));
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::input, where + ": is no JSON that can be read: " + error.what());
  }
}

}  // namespace colonnade
