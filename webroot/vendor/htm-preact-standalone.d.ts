/* Types of the parts of htm/preact standalone (npm: htm) that the page uses. */
export type Node = object | string | number | null | undefined | false;
export type Ref<T> = { current: T };
export function html(strings: TemplateStringsArray, ...values: unknown[]): object;
export function render(node: Node, parent: Element): void;
export function useState<T>(initial: T | (() => T)): [T, (next: T | ((before: T) => T)) => void];
export function useEffect(effect: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useLayoutEffect(effect: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useRef<T>(initial: T): Ref<T>;
export function useMemo<T>(make: () => T, inputs: readonly unknown[]): T;
export function useCallback<T extends (...values: never[]) => unknown>(callback: T, inputs: readonly unknown[]): T;
export function useErrorBoundary(callback?: (error: unknown) => void): [unknown, () => void];
