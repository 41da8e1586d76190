#pragma once

#include <string>

namespace colonnade::detail {

// What is wrong with a site selector whatever the model is, as the end of "sites = ... "; "" if nothing is. Names of
// sites, roles and parts are the model's affair.
std::string selector_problem(const std::string& selector);

}  // namespace colonnade::detail
