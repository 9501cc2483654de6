/**
 * All maxima of the compute folder, in one place, with their relations asserted at load. They bound what a spec may ask
 * for and what a kernel process may take, so that a wrong or hostile request is refused with a sentence instead of
 * running a machine out of memory. They are generous: tfjs trains small and middling models.
 */

/** Trainable and other parameters of one model: 100 million float32 are 400 MB, three times that with Adam. */
export const PARAMETERS_MAX = 100_000_000
export const LAYERS_MAX = 500
export const RANK_MAX = 6
/** One dimension of one tensor. */
export const DIMENSION_MAX = 16_777_216
/** Elements of one example, for what enters a model. */
export const EXAMPLE_ELEMENTS_MAX = 16_777_216
/** Activations that one layer gives for one example. */
export const ACTIVATION_ELEMENTS_MAX = 67_108_864
export const CLASSES_MAX = 1_000_000
export const BATCH_SIZE_MAX = 65_536
export const LOCAL_STEPS_MAX = 1_000_000
export const REPLICAS_MAX = 1_024

/** A safetensors header; the Python library has the same limit. */
export const SAFETENSORS_HEADER_BYTES_MAX = 100_000_000
export const SAFETENSORS_TENSORS_MAX = 100_000

/** Shards are cut at this size: small enough to move, large enough that a file's cost does not show. */
export const SHARD_BYTES_TARGET = 32 * 1024 * 1024
/** A single row may be larger than the target; a shard never exceeds this. */
export const SHARD_BYTES_MAX = 1024 * 1024 * 1024
export const SHARD_HEADER_BYTES_MAX = 64 * 1024
export const COLUMNS_MAX = 4_096
/** Shards are read in pieces of about this size. */
export const CHUNK_BYTES = 128 * 1024
/** Bytes of shards that a kernel process keeps in memory between rounds. */
export const CHUNK_CACHE_BYTES_MAX = 208 * 1024 * 1024
/** What is kept of a split that does not fit, and is read window by window: nothing of an older window is used again. */
export const CHUNK_CACHE_STREAMING_BYTES_MAX = 96 * 1024 * 1024
/** A training split up to this size is shuffled as a whole; a larger one by windows (`data/order.ts`). */
export const FULL_SHUFFLE_BYTES_MAX = 192 * 1024 * 1024

/** What an archive may unpack to: in all, and for each of its own bytes (deflate's limit is near 1,030). */
export const UNPACKED_BYTES_MAX = 64 * 1024 ** 3
export const UNPACKED_RATIO_MAX = 400
export const ARCHIVE_ENTRIES_MAX = 2_000_000
/** A row group of Parquet is read whole. */
export const ROW_GROUP_BYTES_MAX = 1024 ** 3
/** An array that is stored column by column is read whole, to be turned. */
export const COLUMN_MAJOR_BYTES_MAX = 1024 ** 3
/** Names of one category. */
export const CATEGORIES_MAX = 10_000
/** A line of a text format, a quoted field with line ends in it included. */
export const LINE_BYTES_MAX = 4 * 1024 * 1024
/** An encoded picture, and what it unpacks to. */
export const PICTURE_BYTES_MAX = 64 * 1024 * 1024
export const PICTURE_PIXELS_MAX = 64 * 1024 * 1024

/** A kernel job's function, and how deep it may nest. */
export const KERNEL_SOURCE_CHARACTERS_MAX = 64 * 1024
export const KERNEL_DEPTH_MAX = 64
/** Elements of its whole output, and of one input that each of its chunks gets whole. */
export const KERNEL_OUTPUT_ELEMENTS_MAX = 268_435_456
export const KERNEL_INPUT_ELEMENTS_MAX = 67_108_864
/** What is computed between two signs of life. */
export const KERNEL_STRIP_ELEMENTS = 262_144

/** A message between two progress reports of a kernel process is never further apart than a step or this. */
export const PROGRESS_INTERVAL_MS = 200
/** The least time that a member of a synchronous window waits for another's gradients, before it computes them itself. */
export const SYNC_PATIENCE_MIN_MS = 250
/** How often in a window a member that came too late is taken along again. */
export const SYNC_RESCUES_MAX = 3
/** Time that a cancelled kernel gets to stop by itself. */
export const CANCEL_GRACE_MS = 1_000
/** Time without a sign of life after which a kernel process counts as hung. The longest legitimate silence is one step of the largest model. */
export const HANG_LIMIT_MS = 120_000
export const START_LIMIT_MS = 60_000
/** One step of installing a back end; the longest downloads some hundred megabytes. */
export const INSTALL_LIMIT_MS = 30 * 60_000

const relations: [holds: boolean, law: string][] = [
  [SHARD_BYTES_TARGET <= SHARD_BYTES_MAX, 'a shard of the target size is allowed'],
  [SHARD_BYTES_MAX < 2 ** 31, 'a shard fits one ArrayBuffer view'],
  [FULL_SHUFFLE_BYTES_MAX < CHUNK_CACHE_BYTES_MAX, 'what is shuffled as a whole fits the cache'],
  [CHUNK_CACHE_STREAMING_BYTES_MAX <= CHUNK_CACHE_BYTES_MAX, 'a split that is streamed takes no more than another'],
  [256 * 2 * CHUNK_BYTES < CHUNK_CACHE_STREAMING_BYTES_MAX, 'two windows of chunks fit the cache'],
  [CANCEL_GRACE_MS < HANG_LIMIT_MS, 'a cancelled kernel is killed before it counts as hung'],
  [PROGRESS_INTERVAL_MS * 10 < HANG_LIMIT_MS, 'several reports fit into the hang limit'],
]
for (const [holds, law] of relations) if (!holds) throw new Error(`limits.ts contradicts itself: ${law}`)
