/**
 * Ordinary least squares, as every statistics package solves it: what a linear model can reach on a table, to hold a
 * trained one against. Numbers that are missing become the mean of the training rows, texts a 0 or 1 for each but one.
 */
export type TableRow = Readonly<Record<string, unknown>>

/** R² on rows that the fit has not seen. */
export function leastSquaresR2(train: readonly TableRow[], test: readonly TableRow[], target: string): number {
  const encode = encoderOf(train, target)
  const weights = solved(
    train.map(encode),
    train.map((row) => Number(row[target])),
  )
  const found = test.map((row) => dot(encode(row), weights))
  const expected = test.map((row) => Number(row[target]))
  const centre = meanOf(expected)
  const squares = (apart: (i: number) => number): number => expected.reduce((sum, _, i) => sum + apart(i) ** 2, 0)
  return 1 - squares((i) => at(expected, i) - at(found, i)) / squares((i) => at(expected, i) - centre)
}

/** A row as numbers: 1 for the constant, then the standardised columns, so that the equations are well conditioned. */
function encoderOf(train: readonly TableRow[], target: string): (row: TableRow) => number[] {
  const names = Object.keys(train[0] ?? {}).filter((name) => name !== target)
  const parts = names.map((name) => {
    const values = train.map((row) => row[name]).filter((value) => value !== null)
    if (values.every((value) => typeof value === 'number')) {
      const mean = meanOf(values)
      const spread = Math.sqrt(meanOf(values.map((value) => (value - mean) ** 2)))
      return (row: TableRow) => [((row[name] === null ? mean : Number(row[name])) - mean) / spread]
    }
    const texts = [...new Set(values)].slice(1)
    return (row: TableRow) => texts.map((text) => (row[name] === text ? 1 : 0))
  })
  return (row) => [1, ...parts.flatMap((part) => part(row))]
}

/** The normal equations, by elimination with pivots. */
function solved(rows: readonly (readonly number[])[], targets: readonly number[]): number[] {
  const width = rows[0]?.length ?? 0
  const equations = Array.from({ length: width }, (_, i) => [
    ...Array.from({ length: width }, (__, j) => rows.reduce((sum, row) => sum + at(row, i) * at(row, j), 0)),
    rows.reduce((sum, row, r) => sum + at(row, i) * at(targets, r), 0),
  ])
  for (let i = 0; i < width; i++) {
    const below = equations.splice(i).toSorted((a, b) => Math.abs(at(b, i)) - Math.abs(at(a, i)))
    equations.push(...below)
    const pivot = equations[i] ?? []
    for (const [k, other] of equations.entries()) {
      if (k === i) continue
      const factor = at(other, i) / at(pivot, i)
      for (let j = i; j <= width; j++) other[j] = at(other, j) - factor * at(pivot, j)
    }
  }
  return equations.map((equation, i) => at(equation, width) / at(equation, i))
}

function at(list: readonly number[], i: number): number {
  return list[i] ?? Number.NaN
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * at(b, i), 0)
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
