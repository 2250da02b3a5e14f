"""What a run can be told about where it is computed. It changes no number of the result beyond rounding."""

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from astrogf.base.options import Count, Section


class ComputeOptions(Section):
    """Where the passes over the stars are computed; a run may go on elsewhere than it began."""

    where: Literal["here", "processes", "dask"] = Field(
        "here", description="this process, several on this machine, or the workers of a Dask cluster"
    )
    workers: Count | None = Field(None, description="how many processes; left out, one for every two cores")
    scheduler: str | None = Field(
        None, description="dask: address of the scheduler (tcp://host:8786), or the file that it writes"
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        wrong = None
        if self.where == "dask" and self.scheduler is None:
            wrong = "[compute] scheduler: missing; where = 'dask' needs the address of the scheduler or its file."
        elif self.where != "dask" and self.scheduler is not None:
            wrong = f"[compute] scheduler: where = {self.where!r} has none; set where = 'dask', or drop the key."
        elif self.where != "processes" and self.workers is not None:
            wrong = (
                f"[compute] workers: is of where = 'processes', which is {self.where!r} (a Dask cluster knows its own "
                "workers); drop the key."
            )
        if wrong:
            raise PydanticCustomError("disagreement", "{text}", {"text": wrong})
        return self
