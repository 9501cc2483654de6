/**
 * The preprocessing that a job's spec asks for: a list of steps, each an object with an `op`, applied in order to the
 * feature columns between shard and model. A step applies to the columns that it names, else to all that it suits.
 * What a step has to learn (a mean, a least value) is learnt from the training split alone, once, when the job is
 * prepared (`pipeline.ts`); the constants are then part of the model and are applied again at predict.
 *
 * A target of numbers may be scaled too, by naming its column: losses are then of the scaled values, and predictions
 * are turned back.
 */

interface OnColumns {
  readonly columns?: readonly string[]
}

export type PreprocessStep =
  /** value × factor */
  | ({ readonly op: 'scale'; readonly factor: number } & OnColumns)
  /** value + by */
  | ({ readonly op: 'shift'; readonly by: number } & OnColumns)
  /** (value − mean) ÷ standard deviation of the training split's values that are not missing. */
  | ({ readonly op: 'standardise' } & OnColumns)
  /** The training split's least value becomes `min` (0), its greatest `max` (1). */
  | ({ readonly op: 'minmax'; readonly min?: number; readonly max?: number } & OnColumns)
  /** What a missing value counts as: the training split's mean, its most frequent category, or this number. */
  | ({ readonly op: 'impute'; readonly with: 'mean' | 'mode' | number } & OnColumns)
  /** A category becomes as many numbers as it has classes, all 0 but one; all 0 where it is missing. */
  | ({ readonly op: 'onehot' } & OnColumns)
  /** Bilinear. */
  | ({ readonly op: 'resize'; readonly height: number; readonly width: number } & OnColumns)
  | ({ readonly op: 'flatten' } & OnColumns)
  | ({ readonly op: 'augment' } & AugmentOptions & OnColumns)
  /** How rows are ordered in training, where it should not be as `order.ts` chooses. */
  | { readonly op: 'shuffle'; readonly rows: ShuffleMode }

export type ShuffleMode = 'auto' | 'full' | 'windowed' | 'none'

/** Pictures are changed at random in training only, each in its own way in each epoch. */
export interface AugmentOptions {
  readonly flip?: 'horizontal' | 'vertical' | 'both'
  /** Up to so many pixels in each direction; what comes in from outside is 0. */
  readonly shift?: number
  /** Up to so many degrees, in either direction. */
  readonly rotate?: number
  /** A window at a random place, up to this share smaller than the picture, enlarged to its size. */
  readonly crop?: number
  /** All values × a factor from 1 − brightness to 1 + brightness. */
  readonly brightness?: number
  /** Normal noise of this standard deviation, added to each value. */
  readonly noise?: number
}

export const PREPROCESS_OPS = [
  'scale',
  'shift',
  'standardise',
  'minmax',
  'impute',
  'onehot',
  'resize',
  'flatten',
  'augment',
  'shuffle',
] as const satisfies readonly PreprocessStep['op'][]
