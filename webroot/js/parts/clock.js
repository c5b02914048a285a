/** The present time for durations on the page. */
import { useEffect, useState } from "../html.js";

/** @returns {number} Unix seconds; the component is drawn again every second while the page is seen */
export function useNow() {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) setNow(Date.now() / 1000);
    }, 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
