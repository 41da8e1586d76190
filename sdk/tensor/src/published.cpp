#include "colonnade/tensor/published.h"

#include "colonnade/error.h"

namespace colonnade {

Published::~Published() = default;

std::map<std::string, Json> published_files(const Model& model) {
  const auto* published = dynamic_cast<const Published*>(&model.architecture());
  if (published != nullptr) return published->published_files(model.configuration());
  throw Error(ErrorKind::input, "models of type " + model.architecture().type() +
                                    " are published nowhere, so there is no layout to write");
}

}  // namespace colonnade
