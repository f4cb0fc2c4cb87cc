/* The C interface of duet: everything an engine needs. C99 and C++; every call returns a duet_status, every array is a
   view of the caller's memory, nothing is allocated but the context. See each operation's header for its formula,
   shapes, workspace and errors.
   A call of an operation takes the context, its inputs, what it keeps from call to call where it keeps any, its outputs
   or its gradients, and a workspace where it needs one. Inputs, state, outputs and gradients are structs that their
   _INIT begins, so that a later version can add fields to them: a field that a caller does not know is 0, which is its
   default. Gradients hold what a backward pass reads (const views), then what it adds to (the other views). */
#ifndef DUET_DUET_H
#define DUET_DUET_H

#include "activation/activation.h"
#include "alignment/alignment.h"
#include "contrastive/contrastive.h"
#include "core/context.h"
#include "core/devices.h"
#include "core/dlpack.h"
#include "core/memory.h"
#include "core/status.h"
#include "core/stream.h"
#include "core/view.h"
#include "cross_entropy/cross_entropy.h"
#include "decorrelation/decorrelation.h"
#include "distance/distance.h"
#include "distillation/distillation.h"
#include "gather/gather.h"
#include "head/head.h"
#include "linear/linear.h"
#include "mining/mining.h"
#include "normalization/normalization.h"
#include "optimizer/optimizer.h"
#include "random/random.h"
#include "reduction/reduction.h"
#include "retrieval/retrieval.h"
#include "step/step.h"
#include "supervision/supervision.h"
#include "triplet/triplet.h"

#endif
