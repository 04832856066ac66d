/** A labelled native select, small enough for toolbars. */

interface Props<T extends string> {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange(value: T): void;
  testId?: string;
  /** Left out on phones. */
  minor?: boolean;
}

export function Choice<T extends string>({ label, value, options, onChange, testId, minor }: Props<T>) {
  return (
    <label class={`choice${minor ? " hide-narrow" : ""}`}>
      <span>{label}</span>
      <select value={value} data-testid={testId} onChange={(e) => onChange(e.currentTarget.value as T)}>
        {options.map(([v, text]) => (
          <option key={v} value={v}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
