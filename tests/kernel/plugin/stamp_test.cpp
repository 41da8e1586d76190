#include "kernel/plugin/stamp.h"

#include <elf.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "colonnade/error.h"
#include "colonnade/plugin.h"
#include "kernel/plugin/elf_section.h"
#include "kernel/plugin/host_files.h"
#include "tests/kernel/store/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;

namespace {

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(COLONNADE_TEST_FIXTURE_DIR) / (name + ".plugin.so");
}

// A file with one stamp section, made by hand.
std::string elf_with_section(const std::string& content) {
  const std::string names = std::string("\0.shstrtab\0colonnade_stamp\0", 27);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_DYN;
#if defined(__x86_64__)
  header.e_machine = EM_X86_64;
#else
  header.e_machine = EM_AARCH64;
#endif
  header.e_shoff = sizeof(header);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 3;
  header.e_shstrndx = 1;
  Elf64_Shdr sections[3] = {};
  const std::size_t data = sizeof(header) + sizeof(sections);
  sections[1].sh_name = 1;
  sections[1].sh_type = SHT_STRTAB;
  sections[1].sh_offset = data;
  sections[1].sh_size = names.size();
  sections[2].sh_name = 11;
  sections[2].sh_type = SHT_PROGBITS;
  sections[2].sh_offset = data + names.size();
  sections[2].sh_size = content.size();
  std::string file(reinterpret_cast<const char*>(&header), sizeof(header));
  file.append(reinterpret_cast<const char*>(sections), sizeof(sections));
  return file + names + content;
}

const std::string abi_line = "abi=" COLONNADE_STRINGIFY(COLONNADE_SDK_ABI) "\n";

std::string whole_stamp(const std::string& change_from = "", const std::string& change_to = "") {
  std::string text = "colonnade-stamp=1\nname=made\nversion=1.2.3\n" + abi_line +
                     "abi_type=cpp\ntorch=none\ncompiler=" COLONNADE_COMPILER
                     "\nstandard=" COLONNADE_STRINGIFY(__cplusplus) "\ncxx11_abi=" COLONNADE_STRINGIFY(
                         _GLIBCXX_USE_CXX11_ABI) "\nrequires=one;two\nextends=\n";
  if (!change_from.empty()) text.replace(text.find(change_from), change_from.size(), change_to);
  return text + '\0';
}

// The stamp is read, or the file refused by name: nothing else may happen.
bool is_read_or_refused(const std::filesystem::path& file) {
  try {
    read_stamp(file);
    return true;
  } catch (const Error& error) {
    return error.kind() == ErrorKind::environment && std::string(error.what()).find(file.string()) != std::string::npos;
  }
}

}  // namespace

TEST_CASE("The stamp of a plugin is read without loading it") {
  const Stamp stamp = read_stamp(fixture("good"));
  CHECK(stamp.name == "good");
  CHECK(stamp.version == "1.0.0");
  CHECK(stamp.abi == COLONNADE_SDK_ABI);
  CHECK(stamp.abi_type == "cpp");
  CHECK(stamp.torch == "none");
  CHECK(stamp.compiler == COLONNADE_COMPILER);
  CHECK(stamp.standard == COLONNADE_STRINGIFY(__cplusplus));
  CHECK(stamp.cxx11_abi == COLONNADE_STRINGIFY(_GLIBCXX_USE_CXX11_ABI));
  CHECK(stamp.requires_plugins.empty());
  CHECK(mismatches(stamp, fixture("good")).empty());
  CHECK(read_stamp(fixture("throwing_static")).name == "throwing_static");
}

TEST_CASE("A stamp lists what it requires") {
  const ScratchFolder folder;
  const std::filesystem::path file = folder.path() / "made.plugin.so";
  write_bytes(file, elf_with_section(whole_stamp()));
  const Stamp stamp = read_stamp(file);
  CHECK(stamp.requires_plugins == std::vector<std::string>{"one", "two"});
  CHECK(stamp.extends_plugins.empty());
  CHECK(mismatches(stamp, file).empty());
}

TEST_CASE("Damaged stamps are refused by name and reason") {
  const ScratchFolder folder;
  const std::filesystem::path file = folder.path() / "made.plugin.so";
  const auto message_for = [&](const std::string& section) {
    write_bytes(file, elf_with_section(section));
    try {
      read_stamp(file);
    } catch (const Error& error) {
      const std::string message = error.what();
      return message.substr(message.find(file.string()) + file.string().size() + 1);
    }
    return std::string("no error");
  };
  CHECK(message_for(whole_stamp(abi_line, "abi=one\n")) == "has a damaged stamp: the ABI 'one' is no number");
  CHECK(message_for(whole_stamp(abi_line, "abi=99999999999\n")) ==
        "has a damaged stamp: the ABI '99999999999' is no number");
  CHECK(message_for(whole_stamp("torch=none\n", "")) == "has a damaged stamp: 'torch' is missing");
  CHECK(message_for(whole_stamp("torch=none\n", abi_line)) == "has a damaged stamp: 'abi' is in it twice");
  CHECK(message_for(whole_stamp("torch=none", "torch\x01none")) == "has a damaged stamp: a line is not key=value");
  CHECK(message_for(whole_stamp("name=made", "name=../made")) == "has a stamp with the impossible name '../made'");
  CHECK(message_for(whole_stamp("one;two", "one;;two")) == "has a stamp that names the plugin ''");
  CHECK(message_for(whole_stamp("colonnade-stamp=1", "colonnade-stamp=2")) ==
        "has a stamp of another format than this host reads (colonnade-stamp=1)");
  CHECK(message_for(whole_stamp() + whole_stamp()) ==
        "has a damaged stamp, or two: COLONNADE_PLUGIN(...) stands in one source file of a plugin");
  CHECK(message_for("") == "has a damaged stamp, or two: COLONNADE_PLUGIN(...) stands in one source file of a plugin");
  CHECK(message_for(std::string(1 << 17, 'x')) == "has a section colonnade_stamp of impossible size");
}

TEST_CASE("Files that are no plugins are refused by name and reason") {
  const ScratchFolder folder;
  const std::filesystem::path file = folder.path() / "text.plugin.so";
  CHECK_THROWS_WITH(read_stamp(file), "cannot open " + file.string() + ": No such file or directory");
  write_bytes(file, "");
  CHECK_THROWS_WITH(read_stamp(file),
                    file.string() + " is cut off or damaged: its ELF header should lie at byte 0, and the file has 0");
  write_bytes(file, "#!/bin/sh\necho plugin\n");
  CHECK_THROWS_WITH(read_stamp(file), file.string() + " is no shared object (it does not begin as an ELF file)");
  CHECK_THROWS_WITH(read_stamp(folder.path()), folder.path().string() + " is no regular file");
  const std::filesystem::path sdk = sdk_library();
  CHECK_THROWS_WITH(read_stamp(sdk), sdk.string() +
                                         " has no stamp (no section 'colonnade_stamp'): end one source file with "
                                         "COLONNADE_PLUGIN(...) and build it with colonnade_add_plugin");
  std::string other = elf_with_section(whole_stamp());
  other[offsetof(Elf64_Ehdr, e_machine)] = EM_386;
  other[offsetof(Elf64_Ehdr, e_machine) + 1] = 0;
  write_bytes(file, other);
  CHECK_THROWS_WITH(read_stamp(file), Catch::Contains("is for another machine than this one"));
}

TEST_CASE("All mismatches are told at once, with both sides and the fix") {
  Stamp stamp = read_stamp(fixture("good"));
  stamp.name = "other";
  stamp.abi = 7;
  stamp.abi_type = "stable";
  stamp.compiler = "gcc-3";
  stamp.standard = "199711L";
  stamp.cxx11_abi = "old";
  const std::string compiler = COLONNADE_COMPILER, standard = COLONNADE_STRINGIFY(__cplusplus);
  const std::vector<std::string> expected = {
      "its stamp names it 'other', its file is good.plugin.so; call the file other.plugin.so",
      "it was built for SDK ABI 7, this host has SDK ABI " COLONNADE_STRINGIFY(
          COLONNADE_SDK_ABI) "; build it again with this Colonnade's SDK",
      "its ABI is of type 'stable', this host loads 'cpp'; build it with this Colonnade's SDK",
      "it was built with the compiler gcc-3, this host with the compiler " + compiler + "; build it with " + compiler,
      "it was built with the C++ standard 199711L, this host with the C++ standard " + standard + "; build it as " +
          standard,
      "it was built with _GLIBCXX_USE_CXX11_ABI old, this host with _GLIBCXX_USE_CXX11_ABI 1; set it to 1"};
  CHECK(mismatches(stamp, fixture("good")) == expected);
}

TEST_CASE("A stamp for another LibTorch is told with both versions") {
  const Stamp stamp = read_stamp(fixture("wrong_torch"));
  const std::string host = host_torch_version().value_or("");
  const std::string expected = host.empty() ? "it needs LibTorch 0.0.1+none, this host was built without LibTorch; "
                                              "build Colonnade with LibTorch 0.0.1+none"
                                            : "it was built with LibTorch 0.0.1+none, this host with LibTorch " + host +
                                                  "; build it again with LibTorch " + host;
  CHECK(mismatches(stamp, fixture("wrong_torch")) == std::vector<std::string>{expected});
}

TEST_CASE("The section reader survives plugins cut off anywhere") {
  const ScratchFolder folder;
  const std::string whole = read_bytes(fixture("missing_entry"));
  REQUIRE(whole.size() > 1000);
  const std::filesystem::path file = folder.path() / "cut.plugin.so";
  const std::size_t step = std::max<std::size_t>(1, whole.size() / 400);
  for (std::size_t size = 0; size < whole.size(); size += size < 128 ? 1 : step) {
    write_bytes(file, whole.substr(0, size));
    INFO(size << " bytes of " << whole.size());
    CHECK_THROWS_AS(read_stamp(file), Error);  // the section headers lie at the end
  }
  const std::string made = elf_with_section(whole_stamp());
  for (std::size_t size = 0; size < made.size(); ++size) {
    write_bytes(file, made.substr(0, size));
    INFO(size << " bytes of " << made.size());
    CHECK_THROWS_AS(read_stamp(file), Error);
  }
}

TEST_CASE("The section reader survives any changed byte") {
  const ScratchFolder folder;
  const std::string made = elf_with_section(whole_stamp());
  const std::filesystem::path file = folder.path() / "flipped.plugin.so";
  const std::size_t headers = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Shdr);
  for (std::size_t place = 0; place < made.size(); ++place) {
    for (const int change : {0x01, 0x80, 0xff}) {
      if (place >= headers && change != 0x01) continue;
      std::string changed = made;
      changed[place] = static_cast<char>(changed[place] ^ change);
      write_bytes(file, changed);
      INFO("byte " << place << " xor " << change);
      CHECK(is_read_or_refused(file));
    }
  }
}
