# Builds a plugin, in Colonnade's own tree and, after find_package(Colonnade), in any other:
#
#   colonnade_add_plugin(NAME scan            the plugin's name; the file is scan.plugin.so
#                        [TENSOR]             uses the tensor SDK and LibTorch
#                        [VERSION 1.0.0]
#                        [SOURCES a.cpp ...]  default: every .cpp file of the folder
#                        [REQUIRES mask ...]  plugins whose ops or types its own code calls
#                        [EXTENDS mamba ...]  plugins it adds kernels or types to
#                        [LIBRARIES ...]      further libraries to link
#                        [OUTPUT folder]      where the file goes
#                        [ALLOW_UNDEFINED])   do not check at link time that every symbol is found
#
# Makes the targets plugin_NAME and plugin_NAME_objects (the same code, for tests to link).

function(colonnade_plugin_stamp_definitions target)
  cmake_parse_arguments(PARSE_ARGV 1 stamp "" "NAME;VERSION;TORCH" "REQUIRES;EXTENDS")
  list(JOIN stamp_REQUIRES "\\;" requires)
  list(JOIN stamp_EXTENDS "\\;" extends)
  target_compile_definitions(${target} PRIVATE
    "COLONNADE_PLUGIN_NAME=\"${stamp_NAME}\""
    "COLONNADE_PLUGIN_VERSION=\"${stamp_VERSION}\""
    "COLONNADE_PLUGIN_TORCH=\"${stamp_TORCH}\""
    "COLONNADE_PLUGIN_REQUIRES=\"${requires}\""
    "COLONNADE_PLUGIN_EXTENDS=\"${extends}\"")
endfunction()

# Run paths: beside the SDK libraries in lib/, whatever folder the tree lies in. A plugin built elsewhere has no such
# neighbour and names the installed folder.
function(colonnade_plugin_run_path target)
  set(path "$ORIGIN/.." "$ORIGIN/../libtorch")
  if(NOT COLONNADE_IN_TREE)
    list(APPEND path "${COLONNADE_LIBRARY_DIR}" "${COLONNADE_LIBRARY_DIR}/libtorch")
  endif()
  set_target_properties(${target} PROPERTIES INSTALL_RPATH "${path}" BUILD_WITH_INSTALL_RPATH ON)
endfunction()

function(colonnade_add_plugin)
  cmake_parse_arguments(PARSE_ARGV 0 arg
    "TENSOR;ALLOW_UNDEFINED" "NAME;VERSION;OUTPUT" "SOURCES;REQUIRES;EXTENDS;LIBRARIES")
  if(NOT arg_NAME MATCHES "^[a-z][a-z0-9_]*$")
    message(FATAL_ERROR "colonnade_add_plugin: NAME must be lower case letters, digits and _; found '${arg_NAME}'")
  endif()
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "colonnade_add_plugin(NAME ${arg_NAME}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(arg_TENSOR AND NOT TARGET Colonnade::tensor)
    if(COLONNADE_IN_TREE)
      return()
    endif()
    message(FATAL_ERROR "colonnade_add_plugin(NAME ${arg_NAME}): TENSOR needs LibTorch, which was not found; set Torch_ROOT")
  endif()
  if(NOT arg_VERSION)
    set(arg_VERSION 1.0.0)
  endif()
  if(NOT arg_SOURCES)
    file(GLOB arg_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  endif()
  if(NOT arg_SOURCES)
    message(FATAL_ERROR "colonnade_add_plugin(NAME ${arg_NAME}): no .cpp file in ${CMAKE_CURRENT_SOURCE_DIR}")
  endif()

  set(sdk Colonnade::sdk)
  set(torch none)
  if(arg_TENSOR)
    set(sdk Colonnade::tensor)
    set(torch ${COLONNADE_TORCH_VERSION})
  endif()

  set(objects plugin_${arg_NAME}_objects)
  add_library(${objects} OBJECT ${arg_SOURCES})
  target_link_libraries(${objects} PUBLIC ${sdk} ${arg_LIBRARIES})
  target_compile_features(${objects} PRIVATE cxx_std_20)
  # -fno-gnu-unique: a unique symbol would tie plugins to one another although each is loaded on its own.
  target_compile_options(${objects} PRIVATE -fno-gnu-unique
    -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -ffile-prefix-map=${CMAKE_BINARY_DIR}=build)
  set_target_properties(${objects} PROPERTIES
    POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON CXX_EXTENSIONS OFF)
  colonnade_plugin_stamp_definitions(${objects} NAME ${arg_NAME} VERSION ${arg_VERSION} TORCH ${torch}
    REQUIRES ${arg_REQUIRES} EXTENDS ${arg_EXTENDS})
  if(arg_TENSOR AND TARGET colonnade_tensor_pch)
    target_precompile_headers(${objects} REUSE_FROM colonnade_tensor_pch)
  endif()

  add_library(plugin_${arg_NAME} MODULE)
  target_link_libraries(plugin_${arg_NAME} PRIVATE ${objects})
  set_target_properties(plugin_${arg_NAME} PROPERTIES
    PREFIX "" OUTPUT_NAME ${arg_NAME} SUFFIX .plugin.so LINKER_LANGUAGE CXX)
  if(NOT arg_ALLOW_UNDEFINED)
    target_link_options(plugin_${arg_NAME} PRIVATE -Wl,--no-undefined)
  endif()
  colonnade_plugin_run_path(plugin_${arg_NAME})
  if(arg_OUTPUT)
    set_target_properties(plugin_${arg_NAME} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${arg_OUTPUT})
  elseif(COLONNADE_IN_TREE)
    set_target_properties(plugin_${arg_NAME} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/colonnade)
    install(TARGETS plugin_${arg_NAME} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/colonnade)
  else()
    set_target_properties(plugin_${arg_NAME} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  endif()
endfunction()
