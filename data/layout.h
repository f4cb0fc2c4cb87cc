// Which arrays of some files are which of a data set, told by their paths alone. Whatever the case of the letters,
// known are three layouts.
//
// Parts: train/audio or audio_train, also with '.' or '-'; likewise test and val.
//
// Flags: audio_feat, visual_feat and Label_ID of all rows, and Train_test or Split: 1 or train, 0 or test.
//
// Orders: audio, visual and labels of all rows, and train_order, test_order, val_order: numbers of rows.
//
// Labels are called lab, label(s), label_id(s), y or target(s), in whatever group; groups are group(s). The endings
// _feat(s) and _feature(s) are no part of a modality's name.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace duet::data {

struct Layout {
  // Of each split the path of each array: modalities, labels, groups.
  std::map<std::string, std::map<std::string, std::string>> splits;
  std::string flags;                          // path of what says which split a row is of; "": nothing does
  std::map<std::string, std::string> orders;  // of a split: path of the numbers of its rows
};

// Throws DUET_STATUS_INVALID_ARGUMENT, one line that names source and its arrays, where none of these fits or two
// arrays are the same one of the data set.
Layout detect_layout(const std::vector<std::string>& paths, const std::string& source);

// Whether the last part of a path is one of the names of labels.
bool names_labels(const std::string& path);

// "audio/train=PATH": array and split, and the path of its array (a leading '/' is none of it). Each names one array.
// Throws as detect_layout does, for a word that is not of this form and for a path that is not there.
Layout mapped_layout(const std::vector<std::string>& mappings, const std::vector<std::string>& paths,
                     const std::string& source);

}  // namespace duet::data
